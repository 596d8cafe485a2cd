"""What would keep this machine's keys from working, as `gpu-monitor check` tells it."""

import os
from collections.abc import Iterator

from gpu_monitor.commands import key_files
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve import keys
from gpu_monitor.wire.curve.keys import HOSTS, PUBLIC_ENDING, WEBS, KeysError

Found = tuple[bool, str]
"""Whether it is good, and the line without what it is about."""


def findings(config: Config, is_broker: bool) -> Iterator[Found]:
    """The folder, this machine's own key, and on the broker those that are let in."""
    folder = config.keys
    try:
        own = keys.own_pair(folder) if is_broker else keys.client_keys(folder).own
    except KeysError as error:
        yield False, str(error)
        return
    yield True, f"{folder} holds this machine's key {keys.fingerprint(own.public)}"
    if keys.is_open(folder):
        yield False, f"{folder}: others may look into it; run chmod 700 {folder}"
    if is_broker:
        yield from _enrolled(config)
    for path in key_files.waiting(folder):
        yield False, f"{path} holds a secret of another machine; carry it there, remove it here"


def _enrolled(config: Config) -> Iterator[Found]:
    names: dict[str, list[str]] = {HOSTS: [], WEBS: []}
    for kind, known in names.items():
        try:
            known += keys.names(config.keys, kind)
        except KeysError as error:
            yield False, str(error)
        for name in list(known):
            try:
                keys.public_key(config.keys, os.path.join(kind, name + PUBLIC_ENDING))
            except KeysError as error:
                known.remove(name)
                yield False, str(error)
    yield True, f"{len(names[HOSTS])} hosts and {len(names[WEBS])} web servers are let in"
    without = [host for host in config.hosts if host not in names[HOSTS]]
    if without:
        shown = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if without[5:] else "")
        yield False, f"hosts without a key: {shown}; gpu-monitor keys add lets one in"
