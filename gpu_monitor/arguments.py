"""The command line of `gpu-monitor`: commands, options and help."""

import argparse

from gpu_monitor.commands import keys
from gpu_monitor.config.file import DEFAULT_PATHS
from gpu_monitor.run import logs
from gpu_monitor.wire import __version__

MAIN_DESCRIPTION = """\
GPU Monitor shows live, on one page, who is using which NVIDIA GPU of your
machines, since when, with how much memory, and whether the GPU does any work.

Without a command it shows this machine at http://127.0.0.1:8042/ (web_port in
config.yml) until you press Ctrl-C.
"""

COMMANDS = {
    "up": "this machine's live page: collector, broker and web server in one process",
    "collector": "read this machine's GPUs and push them to the broker (on each GPU host)",
    "broker": "receive from the collectors and keep the state of the fleet (one per fleet)",
    "web": "serve the page and the HTTP API (one or more)",
    "demo": "the page with a simulated fleet; needs no GPU",
    "config": "check config.yml and print the settings in effect, or a sample file",
    "check": "find what keeps GPU Monitor from working: one line per finding",
    "viewers": "manage who may sign in to the page: add NAME, remove NAME, list",
    "keys": "create and enrol the keys that secure the links between machines",
}

CHECKED = ("all", "config", "collector", "broker", "web")

MAIN_EPILOG = f"""\
configuration:
  read from the file that --config names, else from {DEFAULT_PATHS[0]} in the current
  folder, else from {DEFAULT_PATHS[1]}; else the defaults apply

examples:
  gpu-monitor                              show this machine
  gpu-monitor demo --hosts 100 --gpus 8    show a simulated fleet of 100 hosts
  gpu-monitor config --print >config.yml   write a commented file to edit
  gpu-monitor check --config my.yml        check that everything is in place

exit codes:
  0 normal stop                2 invalid configuration or arguments
  1 a check or a role failed   3 a port is in use or cannot be bound
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; the default command is `up`."""
    parser = argparse.ArgumentParser(
        prog="gpu-monitor",
        description=MAIN_DESCRIPTION,
        epilog=MAIN_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=16
        ),
    )
    parser.set_defaults(command="up")
    _add_options(parser, config=None, level="info")
    # With prog given, argparse formats no usage here, which would import shutil.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="gpu-monitor")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
        command.set_defaults(command=name)
        _add_common_options(command)
        if name in EXTRA_ARGUMENTS:
            EXTRA_ARGUMENTS[name](command)
    return parser


def _add_demo(command: argparse.ArgumentParser) -> None:
    _add_count(command, "--hosts", 20, 1250, "simulated hosts")
    _add_count(command, "--gpus", 8, 64, "GPUs per host")


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--print",
        action="store_true",
        dest="sample",
        help="print a sample config.yml: every key with its default and a comment",
    )


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "part",
        nargs="?",
        choices=CHECKED,
        default="all",
        metavar="PART",
        help=f"check only one of {', '.join(CHECKED[1:])}; broker lists all hosts",
    )


def _add_viewers(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(
        dest="action", metavar="ACTION", required=True, prog="gpu-monitor viewers"
    )
    add = actions.add_parser("add", help="add a viewer: prints a token, or asks for a password")
    remove = actions.add_parser(
        "remove", help="remove a viewer, whose open pages close within seconds"
    )
    listing = actions.add_parser("list", help="list the viewers with role and kind of secret")
    for action in (add, remove):
        action.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role",
        choices=("counts", "names", "commands"),
        default="",
        help="what the viewer sees: counts only, users but not their commands, or everything "
        "(default: viewer_role in config.yml)",
    )
    for action in (add, remove, listing):
        _add_common_options(action)


def _add_common_options(command: argparse.ArgumentParser) -> None:
    """Options that may also precede the command; without defaults, which would override those."""
    _add_options(command, config=argparse.SUPPRESS, level=argparse.SUPPRESS)


def _add_options(parser: argparse.ArgumentParser, config: str | None, level: str) -> None:
    parser.add_argument("--config", metavar="PATH", default=config, help="the config.yml to read")
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        choices=logs.LOG_LEVELS,
        default=level,
        help=f"lowest level to log: {', '.join(logs.LOG_LEVELS)} (default: info)",
    )
    parser.add_argument("--version", action="version", version=f"gpu-monitor {__version__}")


def _add_count(
    parser: argparse.ArgumentParser, name: str, default: int, highest: int, noun: str
) -> None:
    def count(text: str) -> int:
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= highest:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {highest}")

    parser.add_argument(
        name, metavar="N", type=count, default=default, help=f"{noun} (default: {default})"
    )


def _add_keys(command: argparse.ArgumentParser) -> None:
    keys.add_arguments(command, _add_common_options)


EXTRA_ARGUMENTS = {
    "demo": _add_demo,
    "config": _add_config,
    "check": _add_check,
    "viewers": _add_viewers,
    "keys": _add_keys,
}
