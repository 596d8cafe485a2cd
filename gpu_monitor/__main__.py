"""The command `gpu-monitor`: arguments, configuration, exit codes."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from gpu_monitor.commands import keys
from gpu_monitor.config.file import DEFAULT_PATHS, ConfigError, find_config, load_config
from gpu_monitor.config.keys import Config
from gpu_monitor.run import logs, roles
from gpu_monitor.wire import __version__

OK, FAILED, BAD_CONFIG, CANNOT_BIND = 0, 1, 2, 3

DESCRIPTION = """\
GPU Monitor shows who is on which NVIDIA GPU of your machines, since when, with
how much memory, and whether the GPU does any work for it: live, on one page.

Without a command it shows this machine: the page is at http://127.0.0.1:8042/
(web_port in config.yml), and stops with Ctrl-C.
"""

COMMANDS = {
    "up": "this machine's live page: collector, broker and web server in one process",
    "collector": "read this machine's GPUs and push them to the broker (on each GPU host)",
    "broker": "hear the collectors and keep the state of the fleet (once)",
    "web": "serve the page and the HTTP API (one or many)",
    "demo": "the page with a simulated fleet, no GPU needed",
    "config": "check config.yml and print the settings in effect, or a sample file",
    "check": "look for what would keep it from working: one line per finding",
    "viewers": "who may sign in to the page: add NAME, remove NAME, list",
    "keys": "make keys for the links between machines, and say whose are let in",
}

CHECKED = ("all", "config", "collector", "broker", "web")

EPILOG = f"""\
configuration:
  --config names the file; otherwise {DEFAULT_PATHS[0]} of this folder is read, else
  {DEFAULT_PATHS[1]}, else the defaults apply.

examples:
  gpu-monitor                              this machine, live
  gpu-monitor demo --hosts 100 --gpus 8    how a fleet of 100 hosts looks
  gpu-monitor config --print >config.yml   a commented file to edit
  gpu-monitor check --config my.yml        is everything in place?

exit codes:
  0 stopped in order              2 bad configuration or arguments
  1 a check failed, a part died   3 a port is taken or cannot be bound
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    asked = _parser().parse_args(arguments)
    logs.set_up(asked.log_level)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # until the command sets its own
    if asked.command == "config" and asked.sample:
        from gpu_monitor.commands import effective_config

        effective_config.print_sample()
        return OK
    try:
        path = find_config(asked.config)
        return _run(asked, load_config(path), path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG


def _run(asked: argparse.Namespace, config: Config, path: str | None) -> int:
    if asked.command == "config":
        from gpu_monitor.commands import effective_config

        effective_config.print_effective(config, path)
        return OK
    if asked.command == "check":
        from gpu_monitor.commands.check import check

        return OK if check(config, path, asked.part) else FAILED
    if asked.command == "viewers":
        from gpu_monitor.commands import viewers

        viewers.run(config, asked.action, getattr(asked, "name", ""), getattr(asked, "role", ""))
        return OK
    if asked.command == "keys":
        return OK if keys.run(asked, config) else FAILED
    if asked.command == "collector":
        roles.collector(config)
        return OK
    from gpu_monitor.run.serve import CannotBind

    try:
        if asked.command == "demo":
            roles.demo(config, asked.hosts, asked.gpus)
        else:
            {"up": roles.up, "broker": roles.broker, "web": roles.web}[asked.command](config)
    except CannotBind as error:
        print(error, file=sys.stderr)
        return CANNOT_BIND
    except ConfigError:
        raise
    except Exception:  # whatever ends a role is told in the log and by the exit code
        logging.getLogger(__name__).exception("%s has failed", asked.command)
        return FAILED
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu-monitor",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=16
        ),
    )
    parser.set_defaults(command="up")
    _add_options(parser, config=None, level="info")
    # With prog named, no help is formatted yet: that would load shutil and all it needs.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="gpu-monitor")
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=words[0].upper() + words[1:])
        command.set_defaults(command=name)
        _add_own_options(command)
        if name == "demo":
            _add_count(command, "--hosts", 20, 1250, "simulated hosts")
            _add_count(command, "--gpus", 8, 64, "GPUs in each")
        elif name == "config":
            command.add_argument(
                "--print",
                action="store_true",
                dest="sample",
                help="print a sample config.yml: every key with its default and a comment",
            )
        elif name == "check":
            command.add_argument(
                "part",
                nargs="?",
                choices=CHECKED,
                default="all",
                metavar="PART",
                help=f"one of {', '.join(CHECKED[1:])} alone; broker: each host's state",
            )
        elif name == "viewers":
            _add_viewers(command)
        if name == "keys":
            keys.add_arguments(command, _add_own_options)
    return parser


def _add_viewers(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(
        dest="action", metavar="ACTION", required=True, prog="gpu-monitor viewers"
    )
    add = actions.add_parser("add", help="a new viewer: prints a token, or reads a password")
    remove = actions.add_parser("remove", help="no longer a viewer; open pages close in seconds")
    listing = actions.add_parser("list", help="every viewer with role and kind of secret")
    for action in (add, remove):
        action.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role",
        choices=("counts", "names", "commands"),
        default="",
        help="what the viewer sees: no users, users but not what they run, everything "
        "(default: viewer_role of config.yml)",
    )
    for action in (add, remove, listing):
        _add_own_options(action)


def _add_own_options(command: argparse.ArgumentParser) -> None:
    """Without defaults of its own: they would hide what stands in front of the command."""
    _add_options(command, config=argparse.SUPPRESS, level=argparse.SUPPRESS)


def _add_options(parser: argparse.ArgumentParser, config: str | None, level: str) -> None:
    parser.add_argument("--config", metavar="PATH", default=config, help="read this config.yml")
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        choices=logs.LEVELS,
        default=level,
        help=f"log from this level up: {', '.join(logs.LEVELS)} (default: info)",
    )
    parser.add_argument("--version", action="version", version=f"gpu-monitor {__version__}")


def _add_count(
    parser: argparse.ArgumentParser, name: str, default: int, highest: int, words: str
) -> None:
    def count(text: str) -> int:
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= highest:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r}; write a number from 1 to {highest}")

    parser.add_argument(
        name, metavar="N", type=count, default=default, help=f"{words} (default: {default})"
    )


def _leave(*_: object) -> None:
    raise SystemExit(OK)


if __name__ == "__main__":
    sys.exit(main())
