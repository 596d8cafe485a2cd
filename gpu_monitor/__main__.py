"""The `gpu-monitor` command: configuration, dispatch and exit codes."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from gpu_monitor.arguments import build_parser
from gpu_monitor.commands import keys
from gpu_monitor.config.file import ConfigError, find_config, load_config
from gpu_monitor.config.keys import Config
from gpu_monitor.run import logs, roles

log = logging.getLogger("gpu_monitor")

OK, FAILED, BAD_CONFIG, CANNOT_BIND = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    asked = build_parser().parse_args(arguments)
    logs.set_up(asked.log_level)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)  # until the command sets its own handler
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
    if asked.command == "collector":  # alone, to import no event loop
        roles.collector(config)
        return OK
    return _serve(asked, config)


def _serve(asked: argparse.Namespace, config: Config) -> int:
    """Run the roles of a command that serves until it is stopped."""
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
    except Exception:  # any error ends the role, with a traceback and the exit code
        log.exception("%s failed", asked.command)
        return FAILED
    return OK


def _exit(*_: object) -> None:
    raise SystemExit(OK)


if __name__ == "__main__":
    sys.exit(main())
