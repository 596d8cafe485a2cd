"""`gpu-monitor keys`: creates this machine's keys, and enrols peers on the broker."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config

if TYPE_CHECKING:
    from gpu_monitor.commands.key_files import Enrolment

ACTIONS = {
    "init": "create this machine's key pair, if there is none; print its public key",
    "add": "enrol a host under this name (on the broker)",
    "rotate": "replace a host's key (on the broker), or without HOST this machine's pair",
    "revoke": "remove a host's key (on the broker); it is disconnected within seconds",
    "list": "list the enrolled keys, their age, and problems with their files",
}
KEYS_DESCRIPTION = """\
Keys encrypt the links from collectors and web servers to the broker, and tell the
broker which machine it is talking to. Each machine has a key pair in the folder
that `keys` in config.yml names; its secret key never leaves it. A running broker
applies changes within seconds, without a restart.
"""
KEYS_EPILOG = """\
files in the folder:
  own.key, own.pub     this machine's pair; own.key is secret
  broker.pub           the broker's public key (its own.pub), on the other machines
  hosts/NAME.pub       on the broker: collectors that may report, by their names on
                       the page
  webs/NAME.pub        on the broker: web servers and other subscribers

examples:
  gpu-monitor keys init                              on each machine; prints its public key
  gpu-monitor keys add node1 --public='yR7...'       on the broker, with what that printed
  gpu-monitor keys add node1                         or: creates a pair to move to node1
  gpu-monitor keys add --web page1 --public='v3q...'
  gpu-monitor keys list
"""
SINCE = "%Y-%m-%d %H:%M"


def add_arguments(
    command: argparse.ArgumentParser, add_options: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add the actions of the command `keys`; the default is `list`."""
    command.set_defaults(action="list")
    command.description, command.epilog = KEYS_DESCRIPTION, KEYS_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_folder(command, None)
    actions = command.add_subparsers(title="actions", metavar="ACTION", prog="gpu-monitor keys")
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:])
        action.set_defaults(action=name)
        add_options(action)
        _add_folder(action, argparse.SUPPRESS)
        if name in ("add", "rotate", "revoke"):
            count = "?" if name == "rotate" else None
            action.add_argument("host", metavar="HOST", nargs=count, help="its name on the page")
            action.add_argument(
                "--web",
                action="store_true",
                help="a web server or other subscriber instead of a host",
            )
        if name in ("add", "rotate"):
            action.add_argument(
                "--public",
                metavar="KEY",
                default="",
                help="its public key, or - to read it from stdin (default: create a pair here)",
            )


def _add_folder(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--keys",
        metavar="FOLDER",
        default=default,
        help="the folder of keys (default: keys in config.yml)",
    )


def run(asked: argparse.Namespace, config: Config) -> bool:
    """Run an action; return False if `list` finds a problem.

    Raises ConfigError with one line if the action is impossible.
    """
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve.keys import KeysError

    folder = asked.keys if asked.keys is not None else config.keys
    if not folder:
        remedy = "write keys: /etc/gpu-monitor/keys in config.yml, or use --keys"
        raise ConfigError([f"keys: no folder is set; {remedy}"])
    try:
        key_files.become_owner(folder)
        if asked.action == "list":
            return _list(folder)
        if asked.action == "init" or (asked.action == "rotate" and not asked.host):
            _create_own(folder, config, asked)
        else:
            _change_enrolled(folder, asked)
    except KeysError as error:
        raise ConfigError([str(error)]) from None
    return True


def _create_own(folder: str, config: Config, asked: argparse.Namespace) -> None:
    """Print only the public key to stdout, for scripts; the rest to stderr."""
    from gpu_monitor.commands import key_files
    from gpu_monitor.config.role_settings import own_name
    from gpu_monitor.wire.curve import keys

    name = config.name or own_name()
    if asked.action == "init":
        public, made = key_files.init(folder, name)
        where = os.path.join(folder, "own.key")
        _note(f"created {where}; its public key:" if made else f"{where} exists; its public key:")
    elif asked.public or asked.web:
        raise ConfigError(["rotate: HOST is missing; name it, or omit --public and --web"])
    else:
        public = key_files.rotate_own(folder, name)
        then = "the broker accepts this machine again once it has this key"
        if keys.is_broker(folder):
            then = "restart the broker, and copy own.pub to every machine as broker.pub"
        _note(f"created a new pair; {then}:")
    print(public, flush=True)


def _change_enrolled(folder: str, asked: argparse.Namespace) -> None:
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve import keys

    kind = keys.WEBS if asked.web else keys.HOSTS
    if asked.action == "revoke":
        key_files.revoke(folder, kind, asked.host)
        print(f"revoked {asked.host}; it is disconnected within 5 seconds")
        return
    act = key_files.add if asked.action == "add" else key_files.rotate
    done = act(folder, kind, asked.host, _public(asked.public))
    for line in _outcome(done):
        print(line)


def _public(given: str) -> str:
    """The key given as an argument or, as `-`, on stdin; empty for none."""
    from gpu_monitor.wire.curve import keys

    if not given:
        return ""
    key = keys.key_in(sys.stdin.read(4096) if given == "-" else given)
    if key is None:
        raise keys.KeysError(
            "--public: not a key; write the 40 characters of own.pub in single quotes"
        )
    return key


def _outcome(done: "Enrolment") -> Iterator[str]:
    from gpu_monitor.wire.curve.keys import fingerprint

    key = fingerprint(done.public)
    if not done.changed:
        yield f"{done.name} is already enrolled with this key ({key})"
        return
    yield f"{done.name} is enrolled ({key})"
    if done.carry:
        yield f"Its keys are in {done.carry}"
        yield f"Copy that folder to {done.name}, to the path of `keys` in its config.yml:"
        yield f"  scp -pr {done.carry} {done.name}:/etc/gpu-monitor/keys"
        yield "Make it belong to the user that runs gpu-monitor there. It holds a secret key, so"
        yield f"remove it here afterwards:  rm -r {done.carry}"


def _list(folder: str) -> bool:
    """Print one line per key; return whether all files are usable and safe."""
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve import keys

    keys.check_folder(folder)
    lines = [("", "NAME", "KEY", "SINCE", "FILE")]
    good = True
    for label, name, file in _known(folder):
        key, problem = _inspect(folder, file)
        good = good and not problem
        lines.append((label, name, key, _since(os.path.join(folder, file)), problem or "ok"))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        columns = (text.ljust(width) for text, width in zip(line, widths, strict=False))
        print("  ".join((*columns, line[4])))
    for problem in key_files.folder_problems(folder):
        print(problem)
        good = False
    return good


def _known(folder: str) -> Iterator[tuple[str, str, str]]:
    """Label, name and file of every key that the folder holds or should hold."""
    from gpu_monitor.wire.curve import keys

    yield "own", "", keys.OWN_SECRET
    if os.path.exists(os.path.join(folder, keys.BROKER_PUBLIC)):
        yield "broker", "", keys.BROKER_PUBLIC
    for label, kind in (("host", keys.HOSTS), ("web", keys.WEBS)):
        for name in keys.names(folder, kind):
            yield label, name, os.path.join(kind, name + keys.PUBLIC_ENDING)


def _inspect(folder: str, file: str) -> tuple[str, str]:
    """The fingerprint of the key, and the problem with its file, if any."""
    from gpu_monitor.wire.curve import keys

    try:
        if file == keys.OWN_SECRET:
            return keys.fingerprint(keys.own_pair(folder).public), ""
        return keys.fingerprint(keys.public_key(folder, file)), ""
    except keys.KeysError as error:
        return "-", str(error)


def _since(path: str) -> str:
    try:
        return time.strftime(SINCE, time.localtime(os.stat(path).st_mtime))
    except OSError:
        return "-"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
