"""The utilization of MIG slices, through the real nvidia-ml-py, whatever the driver answers."""

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import SLICES_SECONDS, Device
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.gpm_samples import MAX_GPM_SECONDS
from gpu_monitor.collector.gpu.nvml_errors import FATAL, GPU_IS_LOST
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import DriverReading
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Mig, Scenario, Value, error
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.nvml_calls import wait_until

SAMPLE = "nvmlGpmMigSampleGet"
FUNCTIONS = ("nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", SAMPLE, "nvmlGpmMetricsGet")
CODES = [*range(1, 31), 999]


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    """NVML opened, with one GPU cut into two slices."""
    divide(fake_nvml, 20, 90)
    nvml.open_library(Trace())
    yield fake_nvml
    nvml.close_library(Trace())


def divide(fake: FakeNvml, *percents: Value, calls: tuple[Call, ...] = ()) -> None:
    """Let the GPU report slices with these utilizations."""
    migs = [Mig(utilization_percent=percent) for percent in percents]
    fake.write(Scenario([Gpu(migs=migs)], calls=calls))


@pytest.fixture
def device(opened: FakeNvml) -> Iterator[Callable[[], Device]]:
    """Opens the GPU, and closes it at the end: no sample may be left behind."""
    devices: list[Device] = []

    def device() -> Device:
        devices.append(Device(0, Handle.by_index(0, Trace())))
        return devices[-1]

    yield device
    for each in devices:
        each.close()
    assert opened.samples() == 0


def busy(gpu: Device, now: float) -> list[int | None]:
    return [piece.utilization_percent for piece in gpu.read(now).slices]


def busy_twice(gpu: Device) -> list[int | None]:
    """After the second measurement."""
    busy(gpu, 0.0)
    return busy(gpu, SLICES_SECONDS)


def test_a_slices_utilization_is_the_mean_between_two_samples(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu, seen = device(), []
    for turn, percents in enumerate([(20, 90), (60, 90), (100, 0), (100, 0)]):
        divide(opened, *percents)
        seen.append(busy(gpu, turn * SLICES_SECONDS))

    assert seen == [[None, None], [40, 90], [80, 45], [100, 0]]
    assert opened.samples() == opened.calls("nvmlGpmSampleAlloc") == 4  # used in turn


def test_slices_are_measured_every_five_seconds(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 40, 90)
    before = opened.calls(SAMPLE)

    between = [gpu.read(SLICES_SECONDS + second).slices for second in range(1, 5)]
    measured = gpu.read(2 * SLICES_SECONDS).slices

    assert {piece.utilization_percent for pieces in between for piece in pieces} == {20, 90}
    assert {piece.carried for pieces in between for piece in pieces} == {True}
    assert [(piece.utilization_percent, piece.carried) for piece in measured] == [
        (30, False),
        (90, False),
    ]
    assert opened.calls(SAMPLE) - before == 2


def test_a_divided_gpu_has_no_utilization_of_its_own(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    gpu.read(0.0)

    assert gpu.read(SLICES_SECONDS).utilization_percent is None
    assert opened.calls("nvmlGpmSampleGet") == 0


def test_a_gpu_that_is_not_divided_is_not_measured(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    opened.write(Scenario([Gpu()]))
    gpu = device()
    gpu.read(0.0)
    gpu.read(SLICES_SECONDS)

    assert [opened.calls(name) for name in FUNCTIONS] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("gpu", "calls"),
    [(0, []), (1, [Call("nvmlGpmQueryDeviceSupport", error="FUNCTION_NOT_FOUND")])],
)
def test_a_gpu_without_counters_is_asked_for_them_once(
    opened: FakeNvml, device: Callable[[], Device], gpu: int, calls: list[Call]
) -> None:
    opened.write(Scenario([Gpu(gpm=gpu, migs=[Mig()])], calls=calls))
    asked = device()
    seen = [busy(asked, turn * SLICES_SECONDS) for turn in range(3)]

    assert seen == [[None]] * 3
    assert [opened.calls(name) for name in FUNCTIONS] == [1, 0, 0, 0]


def test_a_gpu_that_did_not_answer_is_asked_again(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    divide(opened, 50, calls=(Call("nvmlGpmQueryDeviceSupport", error="TIMEOUT"),))
    gpu = device()
    busy(gpu, 0.0)
    divide(opened, 50)

    assert [busy(gpu, turn * SLICES_SECONDS) for turn in (1, 2)] == [[None], [50]]


@pytest.mark.parametrize(
    ("reported", "known"),
    [
        (0, 0),
        (0.04, 0),
        (0.2, 1),
        (49.6, 50),
        (100, 100),
        (100.4, 100),
        (101, None),
        (-1, None),
        (-0.2, None),
        (2**64, None),
        ("nan", None),
        (error("NO_DATA"), None),
    ],
)
def test_impossible_shares_are_null_and_a_trace_of_work_is_not_zero(
    opened: FakeNvml, device: Callable[[], Device], reported: Value, known: int | None
) -> None:
    divide(opened, reported, 90)

    assert busy_twice(device()) == [known, 90]  # whatever the first reports, the second is known


def test_slices_that_share_a_gpu_instance_have_no_utilization(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    shared = [Mig(gpu_instance=3, compute_instance=n, utilization_percent=n) for n in range(2)]
    opened.write(Scenario([Gpu(migs=[*shared, Mig(utilization_percent=90)])]))

    assert busy_twice(device()) == [None, None, 90]
    assert opened.calls(SAMPLE) == 2  # of the third alone


def test_no_slice_is_measured_while_one_slices_instance_is_unknown(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    unknown = Call("nvmlDeviceGetGpuInstanceId", error="UNKNOWN", mig=0)
    divide(opened, 20, 90, calls=(unknown,))

    assert busy_twice(device()) == [None, None]
    assert opened.calls(SAMPLE) == 0


def test_samples_are_freed_when_slices_vanish(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    both = opened.samples()
    divide(opened, 20)
    busy(gpu, 2 * SLICES_SECONDS)
    one = opened.samples()
    opened.write(Scenario([Gpu()]))
    gpu.read(3 * SLICES_SECONDS)

    assert (both, one, opened.samples()) == (4, 2, 0)


def test_another_slice_with_the_same_instance_is_measured_afresh(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    opened.write(Scenario([Gpu(migs=[Mig(uuid="MIG-1", utilization_percent=90)])]))
    gpu = device()
    busy_twice(gpu)
    opened.write(Scenario([Gpu(migs=[Mig(uuid="MIG-2", utilization_percent=0)])]))

    assert [busy(gpu, turn * SLICES_SECONDS) for turn in (2, 3)] == [[None], [0]]


def test_a_gpu_that_is_divided_again_is_measured_afresh(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    opened.write(Scenario([Gpu()]))
    gpu.read(2 * SLICES_SECONDS)
    divide(opened, 20, 90)

    assert [busy(gpu, turn * SLICES_SECONDS) for turn in (4, 5)] == [[None, None], [20, 90]]


def test_after_a_failed_sample_the_mean_covers_the_longer_time(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 100, 100, calls=(Call(SAMPLE, error="TIMEOUT"),))
    failed = busy(gpu, 2 * SLICES_SECONDS)
    divide(opened, 60, 90)

    assert failed == [None, None]
    assert busy(gpu, 3 * SLICES_SECONDS) == [40, 90]
    assert opened.samples() == 4


def test_a_value_that_could_not_be_measured_is_not_carried(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 20, 90, calls=(Call(SAMPLE, error="TIMEOUT"),))
    gpu.read(2 * SLICES_SECONDS)

    later = gpu.read(2 * SLICES_SECONDS + 1).slices

    assert [(piece.utilization_percent, piece.carried) for piece in later] == [(None, False)] * 2


def test_a_mean_over_a_very_long_time_is_not_shown(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    late = SLICES_SECONDS + MAX_GPM_SECONDS + 1

    assert [busy(gpu, late), busy(gpu, late + SLICES_SECONDS)] == [[None, None], [20, 90]]


@pytest.mark.parametrize(("function", "code"), [*itertools.product(FUNCTIONS, CODES)])
def test_an_error_costs_the_value_or_is_about_the_whole_gpu(
    opened: FakeNvml, device: Callable[[], Device], function: str, code: int
) -> None:
    divide(opened, 20, 90, calls=(Call(function, error=code),))
    gpu = device()
    gpu.read(0.0)
    reading = gpu.read(SLICES_SECONDS)

    assert (reading.state == "ok") == (code not in FATAL)
    assert [piece.utilization_percent for piece in reading.slices] == (
        [None, None] if reading.state == "ok" else []
    )


def test_a_metrics_own_error_may_be_about_the_whole_gpu(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    divide(opened, error("GPU_IS_LOST"))
    gpu = device()
    gpu.read(0.0)

    assert gpu.read(SLICES_SECONDS).state == "lost"
    assert gpu.failure is not None and gpu.failure.code == GPU_IS_LOST


def test_closing_a_gpu_frees_its_samples_once(
    opened: FakeNvml, device: Callable[[], Device]
) -> None:
    gpu = device()
    busy_twice(gpu)
    both = opened.samples()

    gpu.close()
    gpu.close()

    assert (both, opened.samples()) == (4, 0)
    assert opened.calls("nvmlGpmSampleFree") == 4


def test_a_reading_that_hangs_while_the_driver_is_reopened_frees_its_samples_when_it_returns(
    fake_nvml: FakeNvml,
) -> None:
    fake_nvml.write(Scenario([Gpu(migs=[Mig()])]))
    driver = Driver()
    driver.open(0.0, is_calm=True)
    (slot,) = driver.slots
    for second in range(2):
        slot.refresh(second * SLICES_SECONDS)
    fake_nvml.write(Scenario([Gpu(migs=[Mig()])], calls=[Call(SAMPLE, hang=True)]))
    reader = threading.Thread(target=slot.refresh, args=(2 * SLICES_SECONDS,))
    reader.start()
    wait_until(lambda: fake_nvml.hanging() == 1)

    driver.open(100.0, is_calm=False)
    during = fake_nvml.samples()
    fake_nvml.write(Scenario([Gpu(migs=[Mig()])]))
    reader.join()

    assert (during, fake_nvml.samples()) == (2, 0)
    driver.close()


@pytest.mark.parametrize("is_calm", [True, False])
def test_opening_the_driver_anew_leaves_no_sample_behind(
    fake_nvml: FakeNvml, is_calm: bool
) -> None:
    migs = [Mig(), Mig()]
    driver, seen = Driver(), []
    for generation in range(3):
        fake_nvml.write(Scenario([Gpu(migs=migs)], Machine(generation=generation)))
        driver.open(generation * 100.0, is_calm)
        for second in range(2):
            driver.slots[0].refresh(generation * 100.0 + second * SLICES_SECONDS)
        seen.append(fake_nvml.samples())

    driver.close()

    assert seen == [4, 4, 4]
    assert fake_nvml.samples() == 0


def test_a_sample_that_hangs_is_named_and_affects_no_other_gpu(fake_nvml: FakeNvml) -> None:
    gpus = [Gpu(uuid="GPU-1", migs=[Mig()]), Gpu(uuid="GPU-2", utilization_percent=42)]
    fake_nvml.write(Scenario(gpus, calls=[Call(SAMPLE, hang=True, gpu=0)]))
    watch = Watchdog(Driver(), patience=5.0, timeout=10.0, slow=0.5)
    readings: list[DriverReading] = []

    def shows(state: str, words: str) -> bool:
        readings.append(watch.collect(moment()))
        gpu = readings[-1].gpus[0]
        return gpu.state == state and words in (gpu.reason or "")

    wait_until(lambda: shows("error", f"stuck in {SAMPLE} of GPU 0 since"))
    other = readings[-1].gpus[1]
    fake_nvml.write(Scenario(gpus))
    wait_until(lambda: shows("ok", "") and not own_workers())
    watch.close()

    assert (other.state, other.utilization_percent) == ("ok", 42)
    assert fake_nvml.samples() == 0


def own_workers() -> bool:
    """Whether a GPU still has a thread of its own, so that NVML cannot be closed."""
    return sum(thread.name.startswith("nvml") for thread in threading.enumerate()) > 1
