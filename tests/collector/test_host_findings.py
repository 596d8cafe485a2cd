"""Full disks, and GPU memory held by processes that no longer run."""

import pytest

from gpu_monitor.collector.columns import GpuRow, ProcessRow
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, Use
from gpu_monitor.collector.host.processes import ProcessFacts, ProcessState
from gpu_monitor.collector.host_findings import disk_findings, full_disks, held_memory
from gpu_monitor.wire.document import Table

GIB = 1 << 30
GPUS = [GpuRow(GpuReading(Identity(number))) for number in range(4)]
SLICED = [*GPUS, GpuRow(GpuReading(Identity(0)), parent=3), GpuRow(GpuReading(Identity(1)), 3)]


def process(gpu: int, pid: int, state: ProcessState | None, memory_bytes: int | None) -> ProcessRow:
    return ProcessRow(gpu, Use(pid, "C", memory_bytes), ProcessFacts(pid, state=state))


def test_processes_that_run_or_are_hidden_hold_nothing() -> None:
    assert list(held_memory(GPUS, [process(0, 1, None, GIB), process(0, 2, "hidden", GIB)])) == []


def test_a_process_that_has_ended_is_reported_with_the_memory_it_holds() -> None:
    (found,) = held_memory(GPUS, [process(0, 1, None, GIB), process(3, 4711, "ended", 60 * GIB)])

    assert found.row == 3
    assert found.finding.line == (
        "60.0 GiB held by 1 process that has ended (pid 4711):"
        " as root, fuser -v /dev/nvidia* shows what still has it open"
    )


def test_a_process_on_two_gpus_is_one_finding_of_the_host() -> None:
    (found,) = held_memory(GPUS, [process(0, 7, "ended", GIB), process(1, 7, "ended", GIB // 2)])

    assert found.row is None
    assert found.finding.words == "1.5 GiB of GPU 0, 1 held by 1 process that has ended (pid 7)"


def test_each_state_is_a_finding_of_its_own() -> None:
    rows = [process(5, 9, "stuck", None), process(4, 8, "zombie", GIB), process(4, 6, "zombie", 0)]

    zombie, stuck = held_memory(SLICED, rows)

    assert (zombie.row, stuck.row) == (4, 5)
    assert zombie.finding.words == "1.0 GiB held by 2 zombie processes (pid 6, 8)"
    assert stuck.finding.words == "memory held by 1 process stuck in the kernel (pid 9)"


@pytest.mark.parametrize(
    ("used", "before", "is_full"),
    [(94, [], False), (95, [], True), (92, ["/"], True), (91, ["/"], False), (0, [], False)],
)
def test_a_disk_is_full_at_95_percent_until_it_is_below_92(
    used: int, before: list[str], is_full: bool
) -> None:
    disks: Table = {"mount": ["/"], "total_mib": [100], "used_mib": [used]}
    full = full_disks(disks, before)

    assert full == (["/"] if is_full else [])
    assert [finding.line for finding in disk_findings(full)] == (
        ["the disk at / is nearly full"] if is_full else []
    )
