"""One GPU read through the real nvidia-ml-py, whatever the driver answers."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import MIG_MODE_SECONDS, SLICES_SECONDS, Device
from gpu_monitor.collector.gpu.nvml_errors import GPU_IS_LOST
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.processes import OTHER_LISTS_SECONDS
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, Use
from gpu_monitor.collector.gpu.slow_values import SLOW_READING_SECONDS, SLOWER_READING_SECONDS
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Driver, Gpu, Mig, Process, Scenario, Value, error

BUSY = Gpu(
    name="NVIDIA A100",
    uuid="GPU-1",
    pci_bus_id="00000000:3B:00.0",
    memory_total_mib=81920,
    memory_used_mib=1024,
    memory_reserved_mib=500,
    utilization_percent=87,
    memory_controller_utilization_percent=41,
    temperature_celsius=66,
    slowdown_celsius=89,
    power_watts=312.4,
    power_limit_watts=400,
    fan_percent=30,
    sm_clock_mhz=1410,
    memory_clock_mhz=1593,
    energy_joules=123_456_789.75,
    throttle_reasons=0x4 | 0x40,
)
CALLS_PER_SECOND = 7
CALLS_A_MINUTE = {
    "nvmlDeviceGetUtilizationRates": 60,
    "nvmlDeviceGetMemoryInfo_v2": 60,
    "nvmlDeviceGetPowerUsage": 60,
    "nvmlDeviceGetComputeRunningProcesses_v3": 60,
    "nvmlDeviceGetProcessUtilization": 60,
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": 12,
    "nvmlDeviceGetGraphicsRunningProcesses_v3": 12,
    "nvmlDeviceGetTemperature": 12,
    "nvmlDeviceGetCurrentClocksEventReasons": 12,
    "nvmlDeviceGetClockInfo": 12 + 6,
    "nvmlDeviceGetFanSpeed": 6,
    "nvmlDeviceGetTotalEnergyConsumption": 6,
    "nvmlDeviceGetEnforcedPowerLimit": 6,
    "nvmlDeviceGetMigMode": 6,
}
"""What is read for each sample, every 5 s and every 10 s."""


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    """NVML opened, with one busy GPU."""
    fake_nvml.write(Scenario(gpus=[BUSY]))
    nvml.open_library(Trace())
    yield fake_nvml
    nvml.close_library(Trace())


def device(index: int = 0, **options: str) -> Device:
    return Device(index, Handle.by_index(index, Trace()), **options)


def read(gpu: Gpu, fake: FakeNvml, *calls: Call) -> GpuReading:
    fake.write(Scenario(gpus=[gpu], calls=calls))
    return device().read(0.0)


def test_every_value_is_read_in_its_unit(opened: FakeNvml) -> None:
    reading = device().read(0.0)

    assert reading.identity == Identity(
        0, "GPU-1", "NVIDIA A100", "00000000:3B:00.0", None, 89,
    )  # fmt: skip
    assert reading == GpuReading(
        identity=reading.identity,
        mig_mode="disabled",
        compute_mode="default",
        memory_kind="device",
        memory_total_bytes=81920 << 20,
        memory_used_bytes=1024 << 20,
        utilization_percent=87,
        memory_controller_utilization_percent=41,
        temperature_celsius=66,
        power_watts=312.4,
        power_limit_watts=400.0,
        fan_percent=30,
        sm_clock_mhz=1410,
        memory_clock_mhz=1593,
        energy_joules=123_456_789,
        pcie_generation=5,
        pcie_width=16,
        throttle=("power limit", "hardware thermal slowdown"),
    )


@pytest.mark.parametrize("processes", [0, 1, 4])
def test_a_gpu_takes_seven_calls_a_second_on_average(opened: FakeNvml, processes: int) -> None:
    there = [Process(4000 + number, sm_utilization_percent=9) for number in range(processes)]
    opened.write(Scenario(gpus=[replace(BUSY, processes=there)]))
    gpu = device()
    minutes = 5
    gpu.read(0.0)
    before = opened.calls()

    for second in range(1, 60 * minutes + 1):
        gpu.read(float(second))

    assert 1 < (opened.calls() - before) / (60 * minutes) <= CALLS_PER_SECOND
    assert opened.calls("nvmlDeviceGetPcieThroughput") == 0  # blocks for 20 ms by design


def test_a_slice_takes_four_calls_a_second_more(opened: FakeNvml) -> None:
    slices = [Mig(processes=[Process(4000 + number)]) for number in range(7)]
    opened.write(Scenario(gpus=[replace(BUSY, migs=slices)]))
    gpu = device()
    gpu.read(0.0)
    before = opened.calls()

    for second in range(1, 61):
        gpu.read(float(second))
    gpu.close()

    assert (opened.calls() - before) / 60 <= CALLS_PER_SECOND + 4 * len(slices)


def test_values_that_change_slowly_are_read_less_often(opened: FakeNvml) -> None:
    opened.write(Scenario(gpus=[replace(BUSY, processes=[Process(7)])]))
    gpu = device()
    gpu.read(0.0)
    before = {name: opened.calls(name) for name in CALLS_A_MINUTE}

    for second in range(1, 61):
        gpu.read(float(second))

    assert {name: opened.calls(name) - before[name] for name in before} == CALLS_A_MINUTE


def test_a_hurried_collector_makes_no_slow_call_twice(opened: FakeNvml) -> None:
    gpu = device()
    for turn in range(20):
        gpu.read(turn / 5)

    assert opened.calls("nvmlDeviceGetTemperature") == 1
    assert opened.calls("nvmlDeviceGetFanSpeed") == 1


def test_gpus_read_their_slow_values_in_different_samples(opened: FakeNvml) -> None:
    opened.write(Scenario(gpus=[BUSY, replace(BUSY, uuid="GPU-2")]))
    nvml.close_library(Trace())  # GPUs are counted when NVML is opened
    nvml.open_library(Trace())
    gpus = [device(0), device(1)]
    for gpu in gpus:
        gpu.read(0.0)
    before = opened.calls("nvmlDeviceGetFanSpeed")

    for gpu in gpus:
        gpu.read(SLOWER_READING_SECONDS - 1)

    assert opened.calls("nvmlDeviceGetFanSpeed") - before == 1


def test_an_unsupported_value_is_null_and_not_queried_again(opened: FakeNvml) -> None:
    opened.write(Scenario(gpus=[replace(BUSY, power_watts=N_A)]))
    gpu = device()

    readings = [gpu.read(float(second)) for second in range(3)]

    assert [reading.power_watts for reading in readings] == [None] * 3
    assert readings[2].utilization_percent == 87
    assert opened.calls("nvmlDeviceGetPowerUsage") == 1


def test_a_call_that_fails_once_is_null_once(opened: FakeNvml) -> None:
    failing = replace(BUSY, power_watts=error("TIMEOUT"), temperature_celsius=error("TIMEOUT"))
    opened.write(Scenario(gpus=[failing]))
    gpu = device()
    failed = gpu.read(0.0)
    opened.write(Scenario(gpus=[BUSY]))

    assert failed.power_watts is failed.temperature_celsius is None
    assert gpu.read(1.0).power_watts == 312.4
    assert gpu.read(SLOW_READING_SECONDS).temperature_celsius == 66


@pytest.mark.parametrize("slowdown", [0, 255])
def test_unknown_limits_are_null(opened: FakeNvml, slowdown: int) -> None:
    reading = read(replace(BUSY, power_limit_watts=0, slowdown_celsius=slowdown), opened)

    assert reading.power_limit_watts is reading.identity.slowdown_celsius is None
    assert reading.power_watts == 312.4


def test_an_impossible_value_is_null(opened: FakeNvml) -> None:
    absurd = replace(
        BUSY, utilization_percent=2**32 - 1, temperature_celsius=4000, power_watts=4_000_000
    )

    reading = read(absurd, opened)

    assert reading.state == "ok"
    assert reading.utilization_percent is None
    assert reading.temperature_celsius is None
    assert reading.power_watts is None


def test_a_gpu_without_any_value_is_an_error_with_the_reason(opened: FakeNvml) -> None:
    gpu = device()
    opened.write(Scenario(gpus=[BUSY], calls=[Call("nvmlDeviceGet*", error="NO_PERMISSION")]))

    reading = gpu.read(0.0)

    assert reading.state == "error"
    assert reading.reason is not None and "no permission" in reading.reason


def test_a_lost_gpu_is_described_in_plain_words(opened: FakeNvml) -> None:
    gpu = device()
    opened.write(Scenario(gpus=[replace(BUSY, lost=True)]))

    reading = gpu.read(0.0)

    assert reading.state == "lost"
    assert reading.reason is not None and "fell off the bus" in reading.reason
    assert "reset the GPU or reboot" in reading.reason
    assert reading.identity.uuid == "GPU-1"
    assert reading.utilization_percent is None
    assert gpu.failure is not None and gpu.failure.code == GPU_IS_LOST


def test_a_gpu_that_needs_a_reset_is_in_error_and_says_so(opened: FakeNvml) -> None:
    reading = read(BUSY, opened, Call("nvmlDeviceGetUtilizationRates", error="RESET_REQUIRED"))

    assert reading.state == "error"
    assert reading.reason is not None and "reset" in reading.reason


def test_the_older_memory_function_is_called_where_the_newer_is_missing(opened: FakeNvml) -> None:
    reading = read(BUSY, opened, Call("nvmlDeviceGetMemoryInfo_v2", error="FUNCTION_NOT_FOUND"))

    assert reading.memory_kind == "device"
    assert reading.memory_used_bytes == (1024 + 500) << 20  # with the driver's reserve


def test_an_older_driver_is_asked_for_the_memory_of_slices_the_same_way(opened: FakeNvml) -> None:
    divided = replace(BUSY, migs=[Mig(processes=[Process(4242, memory_mib=700)])])
    reading = read(divided, opened, Call("nvmlDeviceGetMemoryInfo_v2", error="FUNCTION_NOT_FOUND"))

    assert reading.slices[0].memory_total_bytes == 9856 << 20
    assert reading.slices[0].memory_used_bytes == 700 << 20


def test_a_gpu_that_shares_the_hosts_memory_shows_the_hosts(opened: FakeNvml) -> None:
    reading = read(replace(BUSY, memory_total_mib=N_A), opened)

    assert reading.memory_kind == "unified"
    assert reading.memory_total_bytes is not None and reading.memory_used_bytes is not None
    assert 0 < reading.memory_used_bytes < reading.memory_total_bytes


def test_memory_that_cannot_be_read_for_another_reason_is_null(opened: FakeNvml) -> None:
    reading = read(BUSY, opened, Call("nvmlDeviceGetMemoryInfo*", error="UNKNOWN"))

    assert reading.memory_kind is None
    assert reading.memory_total_bytes is reading.memory_used_bytes is None


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


def test_energy_is_the_gpus_and_not_its_slices(opened: FakeNvml) -> None:
    reading = read(replace(BUSY, migs=[Mig()]), opened)

    assert reading.energy_joules == 123_456_789
    assert [piece.energy_joules for piece in reading.slices] == [None]


@pytest.mark.parametrize("energy", [N_A, error("TIMEOUT"), 1.8e16])
def test_energy_that_is_not_reported_or_cannot_be_true_is_null(
    opened: FakeNvml, energy: Value
) -> None:
    reading = read(replace(BUSY, energy_joules=energy), opened)

    assert (reading.state, reading.energy_joules) == ("ok", None)


def test_energy_does_not_fall_while_the_driver_is_open(opened: FakeNvml) -> None:
    gpu, seen = device(), []
    for turn, joules in enumerate((1000, 1500, 3, 1600)):
        opened.write(Scenario(gpus=[replace(BUSY, energy_joules=joules)]))
        seen.append(gpu.read(turn * SLOWER_READING_SECONDS).energy_joules)

    assert seen == [1000, 1500, 1500, 1600]


def test_a_slice_has_a_reading_of_its_own_with_its_processes(opened: FakeNvml) -> None:
    piece = Mig(
        profile="3g.40gb", uuid="MIG-1", memory_total_mib=40448, memory_used_mib=512,
        processes=[Process(os.getpid(), memory_mib=512)],
    )  # fmt: skip

    reading = read(replace(BUSY, migs=[piece, Mig(profile="1g.10gb")]), opened)

    assert reading.utilization_percent is None
    assert reading.power_watts == 312.4
    assert reading.uses == ()
    first, second = reading.slices
    assert (first.identity.number, first.identity.mig_profile) == (0, "3g.40gb")
    assert first.memory_total_bytes == 40448 << 20
    assert first.utilization_percent is None
    assert first.uses == (Use(os.getpid(), "C", 512 << 20, None),)
    assert second.identity.mig_profile == "1g.10gb" and second.uses == ()


def test_a_slices_profile_is_made_from_its_size_where_its_name_has_none(opened: FakeNvml) -> None:
    opened.write(
        Scenario(
            gpus=[replace(BUSY, migs=[Mig(slices=2, compute_slices=1, memory_total_mib=20096)])],
            calls=[Call("nvmlDeviceGetName", error="UNKNOWN", mig=0)],
        )
    )

    (piece,) = device().read(0.0).slices

    assert piece.identity.mig_profile == "1c.2g.20gb"


def slice_numbers(reading: GpuReading) -> list[int]:
    return [piece.identity.number for piece in reading.slices]


def test_slices_keep_the_drivers_index_where_it_has_gaps(opened: FakeNvml) -> None:
    sparse = {1: Mig(), 4: Mig(), 6: Mig()}

    reading = read(replace(BUSY, migs=sparse), opened)

    assert slice_numbers(reading) == [1, 4, 6]


@pytest.mark.parametrize("error", ["NOT_FOUND", "INVALID_ARGUMENT", "NO_PERMISSION", "UNKNOWN"])
def test_a_slice_that_cannot_be_opened_costs_only_itself(opened: FakeNvml, error: str) -> None:
    failing = Call("nvmlDeviceGetMigDeviceHandleByIndex", error=error, mig=1)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(), Mig(), Mig()])], calls=[failing]))

    assert slice_numbers(device().read(0.0)) == [0, 2]


def test_a_gpu_that_is_lost_while_its_slices_are_opened_is_lost(opened: FakeNvml) -> None:
    failing = Call("nvmlDeviceGetMigDeviceHandleByIndex", error="GPU_IS_LOST", mig=1)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(), Mig()])], calls=[failing]))

    assert device().read(0.0).state == "lost"


def test_slices_come_and_go_with_the_mig_mode(opened: FakeNvml) -> None:
    gpu = device()
    whole = gpu.read(0.0)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(profile="1g.10gb")])]))
    divided = gpu.read(MIG_MODE_SECONDS)
    opened.write(Scenario(gpus=[BUSY]))
    again = gpu.read(MIG_MODE_SECONDS + SLICES_SECONDS)

    assert [len(reading.slices) for reading in (whole, divided, again)] == [0, 1, 0]
    readings = [reading.utilization_percent for reading in (whole, divided, again)]
    assert readings == [87, None, 87]


def test_a_sleeping_gpu_is_not_queried(opened: FakeNvml, tmp_path: Path) -> None:
    power = tmp_path / "0000:3b:00.0" / "power"
    power.mkdir(parents=True)
    (power / "control").write_text("auto\n")
    (power / "runtime_status").write_text("suspended\n")
    gpu = device(pci_folder=str(tmp_path))
    before = opened.calls()

    sleeping = gpu.read(0.0)
    asked = opened.calls() - before
    (power / "runtime_status").write_text("active\n")

    assert (sleeping.state, sleeping.utilization_percent, asked) == ("asleep", None, 0)
    assert sleeping.energy_joules is None
    assert gpu.read(1.0).state == "ok"


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


@pytest.mark.parametrize(
    ("margin", "fields", "slowdown"),
    [
        (47, {194: -2}, 40 + 47 + 2),
        (47, {}, 40 + 47),
        (-3, {194: -2}, 40 - 3 + 2),
        (N_A, {194: -2}, None),
        (-1000, {}, None),
    ],
)
def test_the_slowdown_temperature_is_found_by_the_margin_where_it_is_not_reported(
    opened: FakeNvml, margin: Value, fields: dict[int, Value], slowdown: int | None
) -> None:
    gpu = Gpu(slowdown_celsius=N_A, temperature_celsius=40, margin_celsius=margin, fields=fields)
    reading = read(gpu, opened)
    assert (reading.state, reading.identity.slowdown_celsius) == ("ok", slowdown)


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
