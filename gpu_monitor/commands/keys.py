"""`gpu-monitor keys`: makes this machine's keys, and says on the broker whose are let in."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config

if TYPE_CHECKING:
    from gpu_monitor.commands.key_files import Enrolled

ACTIONS = {
    "init": "make this machine's own pair of keys, if there is none; print the public one",
    "add": "let a host in under this name (on the broker)",
    "rotate": "replace a host's key (on the broker); without HOST this machine's own pair",
    "revoke": "let a host in no longer (on the broker)",
    "list": "who is let in, with what key, since when; whether the files are safe",
}
DESCRIPTION = """\
Keys encrypt what collectors send to the broker and what web servers hear from it,
and tell the broker who is who. Every machine has a pair of its own in the folder
that `keys` in config.yml names; the secret one never leaves it. A running broker
hears of a change within seconds; nothing has to be restarted.
"""
EPILOG = """\
files in the folder:
  own.key, own.pub     this machine's pair; own.key is secret
  broker.pub           the broker's public key (its own.pub), on the other machines
  hosts/NAME.pub       on the broker: collectors that may report; NAME is their name
                       on the page
  webs/NAME.pub        on the broker: web servers and other subscribers

examples:
  gpu-monitor keys init                              on each machine; prints its public key
  gpu-monitor keys add node1 --public='yR7...'       on the broker, with what that printed
  gpu-monitor keys add node1                         or: makes a pair to carry to node1
  gpu-monitor keys add --web page1 --public='v3q...'
  gpu-monitor keys list
"""
SINCE = "%Y-%m-%d %H:%M"


def add_arguments(
    command: argparse.ArgumentParser, add_options: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Puts the actions under the command `keys`; without one it lists."""
    command.set_defaults(action="list")
    command.description, command.epilog = DESCRIPTION, EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_folder(command, None)
    actions = command.add_subparsers(title="actions", metavar="ACTION", prog="gpu-monitor keys")
    for name, words in ACTIONS.items():
        action = actions.add_parser(name, help=words, description=words[0].upper() + words[1:])
        action.set_defaults(action=name)
        add_options(action)
        _add_folder(action, argparse.SUPPRESS)
        if name in ("add", "rotate", "revoke"):
            count = "?" if name == "rotate" else None
            action.add_argument("host", metavar="HOST", nargs=count, help="its name on the page")
            action.add_argument(
                "--web", action="store_true", help="a web server or other subscriber, not a host"
            )
        if name in ("add", "rotate"):
            action.add_argument(
                "--public",
                metavar="KEY",
                default="",
                help="its public key, - to read it from stdin; left out, a pair is made here",
            )


def _add_folder(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--keys", metavar="FOLDER", default=default, help="the folder (default: that of config.yml)"
    )


def run(asked: argparse.Namespace, config: Config) -> bool:
    """Does what is asked; whether all is right, which only `list` may find otherwise.

    ConfigError, with one line, where it cannot be done.
    """
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve.keys import KeysError

    folder = asked.keys if asked.keys is not None else config.keys
    if not folder:
        words = "no folder is named; write keys: /etc/gpu-monitor/keys in config.yml, or use --keys"
        raise ConfigError([f"keys: {words}"])
    try:
        key_files.become_owner(folder)
        if asked.action == "list":
            return _list(folder)
        if asked.action == "init" or (asked.action == "rotate" and not asked.host):
            _own(folder, config, asked)
        else:
            _other(folder, asked)
    except KeysError as error:
        raise ConfigError([str(error)]) from None
    return True


def _own(folder: str, config: Config, asked: argparse.Namespace) -> None:
    """Prints the public key alone to stdout, for a script to read."""
    from gpu_monitor.commands import key_files
    from gpu_monitor.config.role_settings import own_name
    from gpu_monitor.wire.curve import keys

    name = config.name or own_name()
    if asked.action == "init":
        public, made = key_files.init(folder, name)
        where = os.path.join(folder, "own.key")
        _tell(f"made {where}; its public key:" if made else f"{where} is there; its public key:")
    elif asked.public or asked.web:
        raise ConfigError(["rotate: whose key? write HOST, or leave --public and --web out"])
    else:
        public = key_files.rotate_own(folder, name)
        then = "once the broker has this key, it lets this machine in again"
        if keys.is_broker(folder):
            then = "restart the broker, and put own.pub on every machine as broker.pub"
        _tell(f"a new pair is made; {then}:")
    print(public, flush=True)


def _other(folder: str, asked: argparse.Namespace) -> None:
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve import keys

    kind = keys.WEBS if asked.web else keys.HOSTS
    if asked.action == "revoke":
        key_files.revoke(folder, kind, asked.host)
        print(f"revoked {asked.host}: out within 5 seconds")
        return
    act = key_files.add if asked.action == "add" else key_files.rotate
    done = act(folder, kind, asked.host, _public(asked.public))
    for line in _outcome(done):
        print(line)


def _public(given: str) -> str:
    """The key that was given, itself or on stdin as a file of it; empty for none."""
    from gpu_monitor.wire.curve import keys

    if not given:
        return ""
    key = keys.key_in(sys.stdin.read(4096) if given == "-" else given)
    if key is None:
        raise keys.KeysError(
            "--public: that is no key; write the 40 signs of own.pub in single quotes"
        )
    return key


def _outcome(done: "Enrolled") -> Iterator[str]:
    from gpu_monitor.wire.curve.keys import fingerprint

    key = fingerprint(done.public)
    if not done.changed:
        yield f"{done.name} is let in with this key already ({key})"
        return
    yield f"{done.name} is let in from now on ({key})"
    if done.carry:
        yield f"Its keys are in {done.carry}"
        yield f"Move that folder to {done.name}, as the folder of keys there, such as"
        yield f"  scp -pr {done.carry} {done.name}:/etc/gpu-monitor/keys"
        yield "where it has to belong to the user of gpu-monitor. It holds a secret: then remove"
        yield f"it here with  rm -r {done.carry}"


def _list(folder: str) -> bool:
    """Prints a line per key; whether the files are all as they should be."""
    from gpu_monitor.commands import key_files
    from gpu_monitor.wire.curve import keys

    keys.check_folder(folder)
    waiting = key_files.waiting(folder)
    lines = [("", "NAME", "KEY", "SINCE", "FILE")]
    good = True
    for label, name, file in _known(folder):
        key, found = _looked_at(folder, file)
        good = good and not found
        lines.append((label, name, key, _since(os.path.join(folder, file)), found or "ok"))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        columns = (text.ljust(width) for text, width in zip(line, widths, strict=False))
        print("  ".join((*columns, line[4])))
    problems = [f"{path} holds a secret of another machine: carry it there" for path in waiting]
    if keys.is_open(folder):
        problems.append(f"{folder}: others may look into it; run chmod 700 {folder}")
    print("\n".join(problems), end="\n" * bool(problems))
    return good and not problems


def _known(folder: str) -> Iterator[tuple[str, str, str]]:
    """Label, name and file of every key that the folder has or should have."""
    from gpu_monitor.wire.curve import keys

    yield "own", "", keys.OWN_SECRET
    if os.path.exists(os.path.join(folder, keys.BROKER_PUBLIC)):
        yield "broker", "", keys.BROKER_PUBLIC
    for label, kind in (("host", keys.HOSTS), ("web", keys.WEBS)):
        for name in keys.names(folder, kind):
            yield label, name, os.path.join(kind, name + keys.PUBLIC_ENDING)


def _looked_at(folder: str, file: str) -> tuple[str, str]:
    """The fingerprint of the public key, and what is wrong with the file."""
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


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
