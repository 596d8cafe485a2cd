"""Rows become columns, rounded once and cut to what the wire carries."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.columns import (
    GpuRow,
    ProcessRow,
    gpu_columns,
    largest_processes,
    packed,
    process_columns,
)
from gpu_monitor.collector.findings import Finding, Severity
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, State, Use
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.wire.codec import unpack
from gpu_monitor.wire.document import GPU_COLUMNS, PROCESS_COLUMNS, Snapshot
from tests.support.snapshots import make_snapshot

GPU = GpuReading(Identity(0, "GPU-1"), power_watts=312.6, memory_used_bytes=(5 << 20) - 1)


def row(pid: int, memory_bytes: int | None) -> ProcessRow:
    return ProcessRow(0, Use(pid, "C", memory_bytes), ProcessFacts(pid))


def test_the_columns_are_those_of_the_document() -> None:
    assert list(gpu_columns([GpuRow(GPU)])) == list(GPU_COLUMNS)
    assert list(process_columns([row(1, None)])) == list(PROCESS_COLUMNS)


def test_values_are_rounded_once_to_whole_numbers() -> None:
    columns = gpu_columns([GpuRow(GPU)])

    assert columns["power_watts"] == [313]
    assert columns["memory_used_mib"] == [4]
    assert columns["utilization_percent"] == [None]


def test_health_reasons_are_shown_whatever_the_state_of_the_gpu() -> None:
    def shown(**values: Any) -> Any:
        (health_reasons,) = gpu_columns([GpuRow(GPU._replace(**values))])["health_reasons"]
        return health_reasons

    assert shown() == []
    waits = Finding("row_remap", "warning", "a row waits", "reset the GPU")
    hot = Finding("gpu_hot", "warning", "hot")
    assert shown(findings=(waits, hot)) == ["a row waits"]
    assert shown(findings=(waits,), state="lost") == ["a row waits"]
    assert shown(findings=(hot,)) == []
    assert shown(state="lost") is shown(state="asleep") is None


@pytest.mark.parametrize(
    ("state", "findings", "health"),
    [
        ("ok", [], "ok"),
        ("ok", [("xid", "warning")], "degraded"),
        ("ok", [("xid", "warning"), ("row_remap", "critical")], "failed"),
        ("ok", [("gpu_hot", "warning"), ("processes_unread", "critical")], "ok"),
        ("lost", [("gpu_lost", "critical")], "failed"),
        ("error", [("gpu_error", "critical")], None),
        ("error", [("ecc", "warning")], "degraded"),
        ("asleep", [], None),
    ],
)
def test_a_cards_health_is_that_of_its_worst_finding_about_the_card(
    state: State, findings: list[tuple[str, Severity]], health: str | None
) -> None:
    found = tuple(Finding(kind, severity, "words") for kind, severity in findings)
    rows = [GpuRow(GPU._replace(state=state, findings=found)), GpuRow(GPU, parent=0)]
    assert gpu_columns(rows)["health"] == [health, None]


def test_no_rows_are_empty_columns() -> None:
    assert set(map(tuple, gpu_columns([]).values())) == {()}


def test_the_processes_with_the_most_memory_are_kept_in_their_order() -> None:
    rows = [row(1, 10), row(2, None), row(3, 30), row(4, 20)]

    assert [each.use.pid for each in largest_processes(rows, 2)] == [3, 4]
    assert largest_processes(rows, 4) == rows


def crowd(count: int, command: str) -> Snapshot:
    rows = [
        ProcessRow(0, Use(pid, "C", pid << 20), ProcessFacts(pid, command=command))
        for pid in range(1, count + 1)
    ]
    snapshot: Snapshot = make_snapshot(processes=process_columns(rows))  # type: ignore[assignment] # a dict by its make
    return snapshot


def test_a_message_that_is_too_large_drops_processes_and_says_so() -> None:
    data = packed(crowd(512, "x" * 4000))

    shed = cast(Snapshot, unpack(data))
    assert len(data) <= 1 << 20
    assert shed["processes"]["pid"] == list(range(257, 513))
    assert shed["findings"]["words"] == ["message too large, 256 of 512 processes shown"]


@given(st.integers(0, 60), st.integers(500, 6000))
def test_no_message_is_larger_than_its_limit(count: int, limit: int) -> None:
    snapshot = crowd(count, "python train.py " * 8)
    smallest = len(packed(crowd(0, "")))

    assert len(packed(snapshot, limit)) <= max(limit, smallest + 100)
