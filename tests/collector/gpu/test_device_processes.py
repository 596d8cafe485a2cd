"""The processes on a GPU, and their shares of it."""

import os
from dataclasses import replace

import pytest

from gpu_monitor.collector.gpu.processes import OTHER_LISTS_SECONDS
from gpu_monitor.collector.gpu.readings import Use
from gpu_monitor.collector.gpu.slow_values import SLOW_READING_SECONDS
from tests.collector.gpu.devices import BUSY, device, read
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Driver, Mig, Process, Scenario


def test_a_gpu_that_shares_the_hosts_memory_shows_the_hosts(opened: FakeNvml) -> None:
    reading = read(replace(BUSY, memory_total_mib=N_A), opened)

    assert reading.memory_kind == "unified"
    assert reading.memory_total_bytes is not None and reading.memory_used_bytes is not None
    assert 0 < reading.memory_used_bytes < reading.memory_total_bytes


def test_a_process_with_compute_and_graphics_is_one_use(opened: FakeNvml) -> None:
    both = Process(os.getpid(), memory_mib=300, type="C+G")
    client = Process(1, memory_mib=None, type="M")

    reading = read(replace(BUSY, processes=[both, client]), opened)

    assert {(use.pid, use.type, use.memory_bytes) for use in reading.uses} == {
        (os.getpid(), "C+G", 300 << 20),
        (1, "C", None),
    }


def test_shares_are_known_from_the_second_reading_on(opened: FakeNvml) -> None:
    worker = Process(os.getpid(), sm_utilization_percent=35)
    idle = Process(1, sm_utilization_percent=None)
    opened.write(Scenario(gpus=[replace(BUSY, processes=[worker, idle])]))
    gpu = device()

    first, second = gpu.read(0.0), gpu.read(1.0)

    assert [use.sm_utilization_percent for use in first.uses] == [None, None]
    assert [use.sm_utilization_percent for use in second.uses] == [35, 0]


def test_shares_are_null_where_the_driver_does_not_sample_them(opened: FakeNvml) -> None:
    name = "nvmlDeviceGetProcessUtilization"
    gpu = replace(BUSY, processes=[Process(os.getpid())])
    opened.write(Scenario(gpus=[gpu], calls=[Call(name, error="NOT_SUPPORTED")]))
    read_by = device()

    for second in range(2):
        assert read_by.read(float(second)).uses == (Use(os.getpid(), "C", 1024 << 20, None),)
    assert opened.calls(name) == 1


def test_unreadable_process_lists_say_why(opened: FakeNvml) -> None:
    calls = [
        Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION")
        for kind in ("Compute", "MPSCompute", "Graphics")
    ]
    reading = read(BUSY, opened, *calls)

    assert reading.state == "ok" and reading.uses == ()
    assert reading.uses_unread is not None and "permission" in reading.uses_unread


def test_processes_of_a_divided_gpu_that_may_not_be_read_name_the_files_of_its_slices(
    opened: FakeNvml,
) -> None:
    calls = [
        Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION")
        for kind in ("Compute", "MPSCompute", "Graphics")
    ]
    reading = read(replace(BUSY, migs=[Mig(profile="1g.10gb")]), opened, *calls)
    (piece,) = reading.slices
    for unread in (reading.uses_unread, piece.uses_unread):
        assert unread is not None and "/dev/nvidia-caps" in unread


@pytest.mark.parametrize(
    ("error", "words"),
    [("NO_PERMISSION", "/dev/nvidia-caps"), ("UNKNOWN", "unknown error")],
)
def test_processes_cannot_be_listed_while_no_slice_can_be_opened(
    opened: FakeNvml, error: str, words: str
) -> None:
    gpu = replace(BUSY, migs=[Mig()])
    opened.write(
        Scenario([gpu], calls=[Call("nvmlDeviceGetMigDeviceHandleByIndex", error=error, mig=0)])
    )
    divided = device()
    closed = divided.read(0.0)
    opened.write(Scenario([gpu]))
    later = divided.read(SLOW_READING_SECONDS)

    assert closed.slices == () and words in (closed.uses_unread or "")
    assert (len(later.slices), later.uses_unread) == (1, None)


def test_more_processes_than_expected_are_all_listed(opened: FakeNvml) -> None:
    crowd = [Process(pid) for pid in range(1000, 1300)]

    reading = read(replace(BUSY, processes=crowd), opened)

    assert [use.pid for use in reading.uses] == list(range(1000, 1300))


@pytest.mark.parametrize("count", [1, 2, 3, 49, 64, 65, 200])
@pytest.mark.parametrize("row_bytes", [24, 32])
def test_process_lists_are_read_whatever_the_size_of_their_rows(
    opened: FakeNvml, row_bytes: int, count: int
) -> None:
    processes = [Process(4000 + number, memory_mib=number) for number in range(count)]
    machine = Driver(process_row_bytes=row_bytes)
    opened.write(Scenario([replace(BUSY, processes=processes)], machine))
    gpu = device()

    expected = tuple(Use(4000 + number, "C", number << 20) for number in range(count))
    for now in (0.0, 1.0):
        uses = tuple(use._replace(sm_utilization_percent=None) for use in gpu.read(now).uses)
        assert uses == expected


def test_the_size_of_the_rows_is_known_when_a_second_process_comes(opened: FakeNvml) -> None:
    machine, gpu = Driver(process_row_bytes=32), device()
    for count in (0, 1, 3, 0, 2):
        processes = [Process(4000 + number) for number in range(count)]
        opened.write(Scenario([replace(BUSY, processes=processes)], machine))
        assert [use.pid for use in gpu.read(0.0).uses] == [4000, 4001, 4002][:count]


def test_a_list_with_impossible_pids_is_unreadable(opened: FakeNvml) -> None:
    reading = read(replace(BUSY, processes=[Process(2**22 + 1), Process(4242)]), opened)

    assert reading.uses == ()
    assert reading.uses_unread == "the driver's list of them makes no sense: upgrade the driver"


def test_several_hidden_processes_are_all_listed(opened: FakeNvml) -> None:
    processes = [Process("hidden", 100), Process("hidden", 300), Process(7, 200)]

    uses = read(replace(BUSY, processes=processes), opened).uses

    assert [(use.pid, use.memory_bytes) for use in uses] == [
        (0, 100 << 20),
        (0, 300 << 20),
        (7, 200 << 20),
    ]


@pytest.mark.parametrize("memory_mib", [81921, 2**44 - 1])
def test_process_memory_beyond_the_cards_total_is_null(opened: FakeNvml, memory_mib: int) -> None:
    (use,) = read(
        replace(BUSY, memory_used_mib=500, processes=[Process(7, memory_mib)]), opened
    ).uses

    assert use.memory_bytes is None


def test_an_impossible_share_is_null(opened: FakeNvml) -> None:
    processes = [Process(7, 100, sm_utilization_percent=2_147_483_632), Process(8, 100)]
    opened.write(Scenario([replace(BUSY, processes=processes)]))
    gpu = device()
    gpu.read(0.0)

    assert [use.sm_utilization_percent for use in gpu.read(1.0).uses] == [None, 0]


def test_shares_return_after_the_drivers_clock_went_back(opened: FakeNvml) -> None:
    processes = [Process(7, 100, sm_utilization_percent=40)]
    opened.write(Scenario([replace(BUSY, processes=processes)]))
    gpu = device()
    gpu.read(0.0)
    opened.write(Scenario([replace(BUSY, processes=processes)], Driver(clock_offset_seconds=-3600)))

    shown = [gpu.read(float(now)).uses[0].sm_utilization_percent for now in range(1, 10)]

    assert shown[-3:] == [40] * 3


def test_a_sample_from_the_future_is_never_taken_for_idle(opened: FakeNvml) -> None:
    processes = [Process(7, 100, sm_utilization_percent=40, ahead_seconds=3600)]
    opened.write(Scenario([replace(BUSY, processes=processes)]))
    gpu = device()

    shown = [gpu.read(float(now)).uses[0].sm_utilization_percent for now in range(20)]

    assert 40 in shown
    assert shown.count(0) <= 2


def test_a_process_that_starts_grows_or_ends_is_seen_at_once(opened: FakeNvml) -> None:
    gpu, seen = device(), []
    for second, memory_mib in enumerate((None, 100, 100, 200, None)):
        there = [] if memory_mib is None else [Process(7, memory_mib)]
        opened.write(Scenario(gpus=[replace(BUSY, processes=there)]))
        seen.append([use.memory_bytes for use in gpu.read(float(second)).uses])

    assert seen == [[], [100 << 20], [100 << 20], [200 << 20], []]


def test_a_graphics_process_or_client_of_mps_is_seen_within_five_seconds(opened: FakeNvml) -> None:
    gpu = device()
    seen = [gpu.read(0.0)]
    there = [Process(7, type="G"), Process(8, type="M")]
    opened.write(Scenario(gpus=[replace(BUSY, processes=there)]))
    seen.append(gpu.read(OTHER_LISTS_SECONDS))
    opened.write(Scenario(gpus=[BUSY]))
    seen += [gpu.read(OTHER_LISTS_SECONDS + 1), gpu.read(2 * OTHER_LISTS_SECONDS)]

    assert [{use.pid for use in each.uses} for each in seen] == [set(), {7, 8}, {7, 8}, set()]


def test_all_lists_are_read_at_once_when_a_compute_process_comes_or_goes(opened: FakeNvml) -> None:
    gpu = device()
    gpu.read(0.0)
    both = replace(BUSY, processes=[Process(7, type="C+G")])
    opened.write(Scenario(gpus=[both]))
    (use,) = gpu.read(1.0).uses
    opened.write(Scenario(gpus=[BUSY]))

    assert (use.type, gpu.read(2.0).uses) == ("C+G", ())


def test_shares_of_the_next_process_are_known_after_a_rest(opened: FakeNvml) -> None:
    busy = replace(BUSY, processes=[Process(7, sm_utilization_percent=30)])
    opened.write(Scenario(gpus=[busy]))
    gpu = device()
    gpu.read(0.0)
    opened.write(Scenario(gpus=[BUSY]))
    name = "nvmlDeviceGetProcessUtilization"
    gpu.read(1.0)
    before = opened.calls(name)
    for second in range(2, 60):
        gpu.read(float(second))
    asked = opened.calls(name) - before
    opened.write(Scenario(gpus=[busy]))

    assert asked == 0
    assert [use.sm_utilization_percent for use in gpu.read(60.0).uses] == [30]


def test_a_client_of_mps_is_marked_by_the_drivers_list_of_them(opened: FakeNvml) -> None:
    processes = [Process(10), Process(11, type="M"), Process("hidden", type="M")]
    uses = read(replace(BUSY, processes=processes), opened).uses

    assert {(use.pid, use.mps) for use in uses} == {(10, None), (11, "client"), (0, "client")}


def test_a_graphics_list_alone_does_not_show_who_computes(opened: FakeNvml) -> None:
    denied = Call("nvmlDeviceGetComputeRunningProcesses*", error="NO_PERMISSION")
    desktop = replace(BUSY, processes=[Process(10, type="G")])
    reading = read(desktop, opened, denied)

    assert [use.pid for use in reading.uses] == [10]
    assert reading.uses_unread is not None and "permission" in reading.uses_unread
