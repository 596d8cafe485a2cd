"""Whether this machine's CURVE keys can be used, and on the broker those of its peers."""

import os
from collections.abc import Iterator

from gpu_monitor.commands import key_files
from gpu_monitor.commands.report_line import ReportLine, listed
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve import keys
from gpu_monitor.wire.curve.keys import HOSTS, PUBLIC_ENDING, WEBS, KeysError

MAX_KEYLESS_NAMED = 5


def report_lines(config: Config, is_broker: bool) -> Iterator[ReportLine]:
    """The folder, this machine's own key, and on the broker the enrolled ones."""
    for good, text in _check_folder(config, is_broker):
        yield ReportLine(good, f"keys: {text}")


def _check_folder(config: Config, is_broker: bool) -> Iterator[tuple[bool, str]]:
    folder = config.keys
    try:
        own = keys.own_pair(folder) if is_broker else keys.client_keys(folder).own
    except KeysError as error:
        yield False, str(error)
        return
    yield True, f"{folder} holds this machine's key {keys.fingerprint(own.public)}"
    if is_broker:
        yield from _check_enrolled(config)
    for problem in key_files.folder_problems(folder):
        yield False, problem


def _check_enrolled(config: Config) -> Iterator[tuple[bool, str]]:
    usable: dict[str, list[str]] = {HOSTS: [], WEBS: []}
    for kind, names in usable.items():
        try:
            names += keys.names(config.keys, kind)
        except KeysError as error:
            yield False, str(error)
        for name in list(names):
            try:
                keys.public_key(config.keys, os.path.join(kind, name + PUBLIC_ENDING))
            except KeysError as error:
                names.remove(name)
                yield False, str(error)
    yield True, f"{len(usable[HOSTS])} hosts and {len(usable[WEBS])} web servers are enrolled"
    without = [host for host in config.hosts if host not in usable[HOSTS]]
    if without:
        named = listed(without, MAX_KEYLESS_NAMED)
        yield False, f"hosts without a key: {named}; enrol each with gpu-monitor keys add"
