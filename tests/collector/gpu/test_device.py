"""One GPU read through the real nvidia-ml-py, whatever the driver answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.nvml_errors import GPU_IS_LOST
from gpu_monitor.collector.gpu.readings import GpuReading, Identity
from gpu_monitor.collector.gpu.slow_values import SLOW_READING_SECONDS, SLOWER_READING_SECONDS
from tests.collector.gpu.devices import BUSY, device, read
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Gpu, Mig, Scenario, Value, error


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


def test_memory_that_cannot_be_read_for_another_reason_is_null(opened: FakeNvml) -> None:
    reading = read(BUSY, opened, Call("nvmlDeviceGetMemoryInfo*", error="UNKNOWN"))

    assert reading.memory_kind is None
    assert reading.memory_total_bytes is reading.memory_used_bytes is None


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
