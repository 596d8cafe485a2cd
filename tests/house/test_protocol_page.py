"""docs/protocol.md tells of everything that travels."""

import pytest

from gpu_monitor.wire import document
from gpu_monitor.wire.limits import MAX_ROWS, MAX_TEXT
from tests.support.house import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()

NAMES = {
    *document.GPU_COLUMNS,
    *document.PROCESS_COLUMNS,
    *document.DISK_COLUMNS,
    *document.SYSTEM_FIELDS,
    *document.COLLECTOR_FIELDS,
    *document.GPU_STATES,
    *document.PROCESS_TYPES,
    *document.Snapshot.__annotations__,
    *document.Host.__annotations__,
    *(document.FleetDocument.__annotations__.keys() - {"broker", "totals", "users", "hosts"}),
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_that_travels_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_limits_are_the_ones_that_are_checked() -> None:
    limits = f"{MAX_ROWS['gpus']} GPU rows, {MAX_ROWS['processes']} processes, {MAX_TEXT:,}"
    assert limits in PAGE
