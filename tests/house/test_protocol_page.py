"""docs/protocol.md explains every name and limit of the protocol, and every path of the API."""

import re

import pytest

from gpu_monitor.wire import document
from gpu_monitor.wire.limits import MAX_ROWS, MAX_TEXT
from tests.support.house import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()

NAMES = {
    *document.GPU_COLUMNS,
    *document.PROCESS_COLUMNS,
    *document.DISK_COLUMNS,
    *document.FINDING_COLUMNS,
    *document.SEVERITIES,
    *document.SYSTEM_FIELDS,
    *document.COLLECTOR_FIELDS,
    *document.GPU_STATES,
    *document.PROCESS_TYPES,
    *document.Snapshot.__annotations__,
    *document.Host.__annotations__,
    *(document.FleetDocument.__annotations__.keys() - {"broker", "totals", "users", "hosts"}),
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_of_the_protocol_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_limits_match_those_of_the_broker() -> None:
    limits = f"{MAX_ROWS['gpus']} GPU rows, {MAX_ROWS['processes']} processes, "
    limits += f"{MAX_ROWS['findings']} findings, {MAX_TEXT:,}"
    assert limits in PAGE


def test_every_kind_of_finding_is_explained_with_its_severities() -> None:
    section = PAGE[PAGE.index("\n### Columns of `findings`") : PAGE.index("\n### Totals and users")]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    kinds = {kind: severities.split(", ") for kind, severities, _, _ in rows}
    assert kinds.keys() == document.FINDING_KINDS and len(rows) == len(kinds)
    for severities in kinds.values():
        assert severities == [each for each in document.SEVERITIES if each in severities] != []


def test_every_path_of_the_api_is_explained() -> None:
    source = (ROOT / "web" / "api" / "routes.py").read_text()
    table = PAGE[PAGE.index("\n## HTTP") : PAGE.index("\n## Metrics")]
    routed = re.findall(r'^ +"([a-z0-9/{}]+)": self\.', source, re.MULTILINE)
    explained = re.findall(r"^\| `([^`?]+)", table, re.MULTILINE)
    assert sorted(path.replace("{name}", "NAME") for path in routed) == sorted(explained)
