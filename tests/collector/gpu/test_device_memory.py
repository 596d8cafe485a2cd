"""What kind of memory a GPU has, and what its processes hold of it."""

from dataclasses import replace

from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading
from gpu_monitor.collector.host.system import memory
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Gpu, Mig, Process, Scenario

HOST_MIB = memory()["memory_total_mib"]
ORIN = Gpu(memory_total_mib=0, memory_used_mib=0, memory_reserved_mib=0)
LISTS = [
    Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NOT_SUPPORTED")
    for kind in ("Compute", "MPSCompute", "Graphics")
]


def device() -> Device:
    return Device(0, Handle.by_index(0, Trace()))


def read(gpu: Gpu, fake: FakeNvml, *calls: Call) -> GpuReading:
    fake.write(Scenario(gpus=[gpu], calls=calls))
    return device().read(0.0)


def mib(size: int | None) -> int | None:
    return None if size is None else size >> 20


def test_a_total_of_zero_is_the_hosts_memory_and_never_less_than_its_processes(
    opened: FakeNvml,
) -> None:
    more = HOST_MIB + 3000
    for processes, held in (([], 0), ([3000], 3000), ([more, 20], more + 20)):
        listed = [Process(10 + row, memory_mib=size) for row, size in enumerate(processes)]
        reading = read(replace(ORIN, processes=listed), opened)
        assert reading.memory_kind == "unified"
        assert mib(reading.memory_total_bytes) == HOST_MIB
        assert mib(reading.process_memory_bytes) == held
        used = mib(reading.memory_used_bytes)
        assert used is not None and used >= max(held, 1)


def test_unified_memory_shows_the_sum_of_its_processes_beside_the_hosts_use(
    opened: FakeNvml,
) -> None:
    both = [Process(10, memory_mib=300, type="C+G"), Process(11, memory_mib=50)]
    reading = read(Gpu(memory_total_mib=N_A, processes=both), opened)

    assert (reading.memory_kind, mib(reading.process_memory_bytes)) == ("unified", 350)


def test_the_sum_is_not_known_where_one_process_is_not(opened: FakeNvml) -> None:
    some = [Process(10, memory_mib=None), Process(11, memory_mib=50)]
    gpu = Gpu(memory_total_mib=N_A, processes=some)

    assert read(gpu, opened).process_memory_bytes is None
    assert read(gpu, opened, *LISTS).process_memory_bytes is None


def test_memory_that_is_a_numa_node_is_not_judged_by_its_use(opened: FakeNvml) -> None:
    gpu = Gpu(numa_node=1, memory_used_mib=70_000, processes=[Process(10, memory_mib=512)])
    reading = read(gpu, opened)

    assert reading.memory_kind == "numa"
    assert mib(reading.memory_used_bytes) == 70_000
    assert mib(reading.process_memory_bytes) == 512


def test_the_numa_node_is_queried_once_whatever_it_is(opened: FakeNvml) -> None:
    for node in (0, N_A):
        opened.write(Scenario(gpus=[Gpu(numa_node=node)]))
        gpu, before = device(), opened.calls("nvmlDeviceGetNumaNodeId")
        for second in range(3):
            gpu.read(float(second))
        assert opened.calls("nvmlDeviceGetNumaNodeId") - before == 1


def test_a_failed_query_of_the_numa_node_is_made_again(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(numa_node=1)], calls=[Call("nvmlDeviceGetNumaNodeId", error=999)]))
    gpu = device()
    assert gpu.read(0.0).memory_kind == "device"
    opened.write(Scenario([Gpu(numa_node=1)]))
    assert gpu.read(1.0).memory_kind == "numa"


def test_dedicated_memory_has_no_sum(opened: FakeNvml) -> None:
    reading = read(Gpu(processes=[Process(10)]), opened)
    assert (reading.memory_kind, reading.process_memory_bytes) == ("device", None)


def test_slices_of_a_numa_node_are_judged_by_their_processes_too(opened: FakeNvml) -> None:
    reading = read(Gpu(numa_node=1, migs=[Mig(processes=[Process(10, memory_mib=64)])]), opened)

    assert (reading.memory_kind, reading.process_memory_bytes) == ("numa", None)
    (piece,) = reading.slices
    assert (piece.memory_kind, mib(piece.process_memory_bytes)) == ("numa", 64)


def test_slices_keep_their_kind_where_the_memory_of_their_gpu_is_not_readable(
    opened: FakeNvml,
) -> None:
    denied = Call("nvmlDeviceGetMemoryInfo*", error="NO_PERMISSION", mig="none")
    reading = read(Gpu(migs=[Mig()]), opened, denied)

    assert reading.memory_kind is None
    assert [piece.memory_kind for piece in reading.slices] == ["device"]
