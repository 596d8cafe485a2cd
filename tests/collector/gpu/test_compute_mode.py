"""The modes of a GPU that decide who may use it."""

from dataclasses import replace

import pytest

from gpu_monitor.collector.gpu.compute_mode import COMPUTE_MODE_SECONDS
from gpu_monitor.collector.gpu.device import MIG_MODE_SECONDS, Device
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Gpu, Mig, Scenario, Value

CALL = "nvmlDeviceGetComputeMode"


def device() -> Device:
    return Device(0, Handle.by_index(0, Trace()))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "default"),
        (1, "exclusive_thread"),
        (2, "prohibited"),
        (3, "exclusive_process"),
        (7, "number 7"),
        (N_A, None),
    ],
)
def test_a_mode_has_nvmls_name(opened: FakeNvml, number: Value, words: str | None) -> None:
    opened.write(Scenario([Gpu(compute_mode=number)]))
    assert device().read(0.0).compute_mode == words


def test_the_mode_is_queried_once_a_minute(opened: FakeNvml) -> None:
    gpu = device()
    for second in range(int(COMPUTE_MODE_SECONDS)):
        gpu.read(float(second))
    assert opened.calls(CALL) == 1
    opened.write(Scenario([Gpu(compute_mode=2)]))
    assert gpu.read(COMPUTE_MODE_SECONDS).compute_mode == "prohibited"
    assert opened.calls(CALL) == 2


def test_a_mode_that_cannot_be_read_now_is_as_it_was(opened: FakeNvml) -> None:
    prohibited = Gpu(compute_mode=2)
    opened.write(Scenario([prohibited]))
    gpu = device()
    gpu.read(0.0)
    opened.write(Scenario([prohibited], calls=[Call(CALL, error="UNKNOWN")]))
    assert gpu.read(COMPUTE_MODE_SECONDS).compute_mode == "prohibited"


def test_mig_mode_is_known_with_slices_and_without(opened: FakeNvml) -> None:
    gpu = device()
    for second, (scenario, mode) in enumerate(
        (
            (Gpu(mig_mode=0), "disabled"),
            (Gpu(mig_mode=1), "enabled"),
            (Gpu(migs=[Mig()]), "enabled"),
            (replace(Gpu(), mig_mode=N_A), None),
        )
    ):
        opened.write(Scenario([scenario]))
        assert gpu.read(second * MIG_MODE_SECONDS).mig_mode == mode


def test_a_failed_query_of_the_mig_mode_leaves_it_as_it_was(opened: FakeNvml) -> None:
    gpu, failing = device(), [Call("nvmlDeviceGetMigMode", error="TIMEOUT")]
    opened.write(Scenario([Gpu(migs=[Mig()])], calls=failing))
    assert gpu.read(0.0).mig_mode is None
    for second, calls in ((MIG_MODE_SECONDS, []), (2 * MIG_MODE_SECONDS, failing)):
        opened.write(Scenario([Gpu(migs=[Mig()])], calls=calls))
        reading = gpu.read(second)
        assert (reading.mig_mode, len(reading.slices)) == ("enabled", 1)
