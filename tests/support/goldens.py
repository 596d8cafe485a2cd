"""Golden outputs: what the product printed or published when tests/golden/ was last written.

A refactoring changes none of them. If a change is meant to alter an output, renew the files and
review the difference before you commit:

    .venv/bin/python tests/support/goldens.py --write
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from gpu_monitor.__main__ import main
from gpu_monitor.arguments import COMMANDS
from gpu_monitor.broker.document import Published
from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.ingest import Ingest
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.commands.keys import ACTIONS
from gpu_monitor.config.file import ConfigError, load_config
from gpu_monitor.config.role_settings import (
    broker_settings,
    check_viewers,
    collector_settings,
    web_settings,
)
from gpu_monitor.demo.fleet import MISSING_HOST
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.web.api.exposition import render, render_families
from gpu_monitor.web.api.metrics import fleet_metrics, viewer_metrics
from gpu_monitor.web.auth.redaction import redact_document
from gpu_monitor.web.settings import Role
from gpu_monitor.wire import __version__
from gpu_monitor.wire.codec import pack

FOLDER = Path(__file__).parent.parent / "golden"
ROLES: dict[str, Callable[..., object]] = {
    "collector": collector_settings,
    "broker": broker_settings,
    "web": web_settings,
    "viewers": check_viewers,
}
"""The functions that refuse a configuration that is valid as a file, by name in refusals.json."""

WALL = 1_763_910_000.0
"""The wall clock at boot, in unix seconds."""
SILENT_HOST = 6
SILENT_FROM_TICK = 8
HOSTS = (1, 4, SILENT_HOST, 8, 30)
"""Numbers of simulated hosts: with a lost GPU, with MIG slices, one that falls silent during the
test, one with GPUs held idle, and one with a GPU that is busy at low power."""
GPUS = 2
PICTURE_TICK = 3
TICKS = 18
"""One per second: those up to `PICTURE_TICK` make the document, the later ones the patches."""
REFUSED_TICK, LOAD_TICK = 6, 10
LOAD = {
    "messages": 40,
    "overtaken_messages": 1,
    "waiting_messages": 3,
    "tick_late_seconds": 0.002,
}


class Stream(NamedTuple):
    """A published document, the patches that follow it, and the document after the last one."""

    document: dict[str, Any]
    patches: list[dict[str, Any]]
    last: dict[str, Any]


@cache
def demo_stream() -> Stream:
    """A demo fleet, packed and received as from collectors, with fixed clocks."""
    settings = BrokerSettings(
        hosts=(MISSING_HOST,), rpc_timeout=2.0, forget_after=4.0, simulated=True
    )
    fleet = Fleet(settings.hosts, settings.rpc_timeout, settings.forget_after)
    ingest = Ingest(fleet, Directory(()), lambda: None)
    published = Published(settings, fleet, WALL)
    hosts = [SimulatedHost(number, GPUS, WALL) for number in HOSTS]
    document: dict[str, Any] = {}
    patches: list[dict[str, Any]] = []
    for tick in range(1, TICKS + 1):
        with mock.patch("time.time", lambda now=WALL + tick: now):  # the broker's clock
            _receive(ingest, hosts, tick)
        fleet.mark_stale(tick)
        load = LOAD if tick == LOAD_TICK else None
        patch = published.advance(tick, WALL + tick, dict(ingest.refusals.counts), load)
        if tick > PICTURE_TICK:
            patches.append(_copy(patch))
        else:
            document = _copy(published.document)
    return Stream(document, patches, _copy(published.document))


def _receive(ingest: Ingest, hosts: Sequence[SimulatedHost], tick: int) -> None:
    for number, host in zip(HOSTS, hosts, strict=True):
        if number == SILENT_HOST and tick >= SILENT_FROM_TICK:
            continue
        host.step(WALL + tick)
        message = pack(host.snapshot(WALL + tick - 0.25, tick - 0.25, 1.0))
        ingest.ingest(message, "", tick - 0.2)
    if tick == REFUSED_TICK:
        ingest.ingest(b"\xc1", "", tick - 0.1)


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(value))
    return copied


def document_json() -> str:
    return canonical(demo_stream().document)


def patches_json() -> str:
    return canonical(demo_stream().patches)


def exposition(role: Role, *, openmetrics: bool = False, lost: bool = False) -> str:
    """The response of /metrics for the document, as sent to a viewer with this role.

    Hosts and users are sorted, because their order in a document is neither fixed nor meaningful.
    """
    document = json.loads(document_json())
    document = {**document, "web": {"version": __version__, "assets": "assets"}}
    if lost:
        document["broker"] = {**document["broker"], "state": "lost"}
    own = render_families(
        viewer_metrics(3, {"slow": 1, "silent": 2}, 4, 5, {"late": 5}), openmetrics=openmetrics
    )
    return (
        own + render(fleet_metrics(redact_document(document, role)), openmetrics=openmetrics)
    ).decode()


def help_text() -> str:
    """`--help` of every command, at 80 columns."""
    names = [
        (),
        *((command,) for command in COMMANDS),
        *(("viewers", action) for action in ("add", "remove", "list")),
        *(("keys", action) for action in ACTIONS),
    ]
    return "\n".join(
        f"$ {' '.join(('gpu-monitor', *name))} --help\n{_help(name)}" for name in names
    )


def _help(name: Sequence[str]) -> str:
    """Usage lines are joined: Python versions break them in different places."""
    printed = io.StringIO()
    fixed = {"COLUMNS": "80", "PYTHON_COLORS": "0"}
    leaves = contextlib.suppress(SystemExit)
    with mock.patch.dict(os.environ, fixed), contextlib.redirect_stdout(printed), leaves:
        main([*name, "--help"])
    usage, *rest = printed.getvalue().split("\n\n")
    return "\n\n".join((" ".join(usage.split()), *rest))


def refusals_json() -> str:
    """The error lines for every configuration in refusals.json; add cases there, without lines.

    `config` is the text of the file, with bytes that are not UTF-8 as lone surrogates; `path` names
    a file or folder instead; `role` is the role whose settings refuse it.
    """
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            {**case, "lines": _refusal(case, folder)}
            for case in json.loads((FOLDER / "refusals.json").read_text())
        ]
    return canonical(cases)


def _refusal(case: dict[str, Any], folder: str) -> list[str]:
    path = case.get("path", "config.yml")
    if "path" not in case:
        Path(folder, path).write_bytes(case["config"].encode("utf-8", "surrogateescape"))
    try:
        config = load_config(os.path.join(folder, path))
        if "role" in case:
            ROLES[case["role"]](config)
    except ConfigError as error:
        return [line.replace(f"{folder}/", "") for line in error.lines]
    return []


def canonical(value: Any, indent: int = 0) -> str:
    """JSON with sorted keys: one line per member of an object, arrays of values on one line."""
    inner = "\n" + " " * (indent + 1)
    outer = "\n" + " " * indent
    if type(value) is dict and value:
        members = (
            f"{json.dumps(key)}: {canonical(value[key], indent + 1)}" for key in sorted(value)
        )
        text = f"{{{inner}{f',{inner}'.join(members)}{outer}}}"
    elif type(value) is list and any(type(entry) is dict for entry in value):
        entries = (canonical(entry, indent + 1) for entry in value)
        text = f"[{inner}{f',{inner}'.join(entries)}{outer}]"
    else:
        text = json.dumps(value)
    return text if indent else text + "\n"


OUTPUTS: dict[str, Callable[[], str]] = {
    "document.json": document_json,
    "patches.json": patches_json,
    "metrics-commands.txt": lambda: exposition("commands"),
    "metrics-names.txt": lambda: exposition("names"),
    "metrics-counts.txt": lambda: exposition("counts"),
    "metrics-openmetrics.txt": lambda: exposition("counts", openmetrics=True),
    "metrics-lost.txt": lambda: exposition("commands", lost=True),
    "help.txt": help_text,
    "refusals.json": refusals_json,
}
"""The function that returns the text of each file in tests/golden/."""


def made(file: str) -> bytes:
    """The current output, without the version, which changes with every release."""
    return OUTPUTS[file]().replace(f'"{__version__}"', '"VERSION"').encode()


def renew() -> Iterator[str]:
    """Write every golden file that differs, and yield its name."""
    for file in OUTPUTS:
        path, latest = FOLDER / file, made(file)
        if not path.exists() or path.read_bytes() != latest:
            path.write_bytes(latest)
            yield file


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(__doc__)
    for written in renew():
        print(f"wrote tests/golden/{written}")
