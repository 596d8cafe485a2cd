"""GPU memory held by processes that no longer run is a problem in words."""

from gpu_monitor.collector.columns import GpuRow, ProcessRow
from gpu_monitor.collector.findings import held_memory
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, Use
from gpu_monitor.collector.host.processes import ProcessFacts, ProcessState

GIB = 1 << 30
GPUS = [GpuRow(GpuReading(Identity(number))) for number in range(4)]
SLICED = [*GPUS, GpuRow(GpuReading(Identity(0)), parent=3), GpuRow(GpuReading(Identity(1)), 3)]


def process(gpu: int, pid: int, state: ProcessState | None, memory_bytes: int | None) -> ProcessRow:
    return ProcessRow(gpu, Use(pid, "C", memory_bytes), ProcessFacts(pid, state=state))


def test_running_and_hidden_processes_are_no_problem() -> None:
    assert list(held_memory(GPUS, [process(0, 1, None, GIB), process(0, 2, "hidden", GIB)])) == []


def test_a_process_that_has_ended_is_reported_with_the_memory_it_holds() -> None:
    problems = list(
        held_memory(GPUS, [process(0, 1, None, GIB), process(3, 4711, "ended", 60 * GIB)])
    )

    assert problems == [
        "60.0 GiB of GPU 3 held by 1 process that has ended (pid 4711):"
        " as root, fuser -v /dev/nvidia* shows what still has it open"
    ]


def test_a_process_on_two_gpus_counts_once() -> None:
    (problem,) = held_memory(GPUS, [process(0, 7, "ended", GIB), process(1, 7, "ended", GIB // 2)])

    assert problem.startswith("1.5 GiB of GPU 0, 1 held by 1 process that has ended (pid 7)")


def test_each_state_has_a_line_of_its_own() -> None:
    rows = [process(5, 9, "stuck", None), process(4, 8, "zombie", GIB), process(4, 6, "zombie", 0)]

    zombie, stuck = held_memory(SLICED, rows)

    assert zombie.startswith("1.0 GiB of GPU 3.0 held by 2 zombie processes (pid 6, 8)")
    assert stuck.startswith("memory of GPU 3.1 held by 1 process stuck in the kernel (pid 9)")
