"""How busy MIG slices are, measured through the real nvidia-ml-py and whatever the driver says."""

import gc
import itertools
import threading
from collections.abc import Iterator

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import SLOW_SECONDS, Device
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.gpm_samples import Sample
from gpu_monitor.collector.gpu.mig_utilization import LONGEST_SECONDS
from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.nvml_errors import FATAL, GPU_IS_LOST, UNINITIALIZED, NvmlError
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import Picture
from gpu_monitor.collector.gpu.watchdog import Watch
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
    nvml.open_library()
    yield fake_nvml
    nvml.close_library()
    assert fake_nvml.samples() == 0


def divide(fake: FakeNvml, *percents: Value, calls: tuple[Call, ...] = ()) -> None:
    """The GPU has slices that are so busy now."""
    migs = [Mig(utilization_percent=percent) for percent in percents]
    fake.write(Scenario([Gpu(migs=migs)], calls=calls))


def device() -> Device:
    return Device(0, Handle.by_index(0), Trace())


def busy(gpu: Device, now: float) -> list[int | None]:
    return [piece.utilization_percent for piece in gpu.read(now).slices]


def busy_twice(gpu: Device) -> list[int | None]:
    """As of the second time that the slices are measured."""
    busy(gpu, 0.0)
    return busy(gpu, SLOW_SECONDS)


def test_a_slice_is_as_busy_as_between_two_samples(opened: FakeNvml) -> None:
    gpu, seen = device(), []
    for turn, percents in enumerate([(20, 90), (60, 90), (100, 0), (100, 0)]):
        divide(opened, *percents)
        seen.append(busy(gpu, turn * SLOW_SECONDS))

    assert seen == [[None, None], [40, 90], [80, 45], [100, 0]]
    assert opened.samples() == opened.calls("nvmlGpmSampleAlloc") == 4  # used in turn


def test_slices_are_measured_every_five_seconds_and_not_each_time(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 40, 90)
    before = opened.calls(SAMPLE)

    between = [gpu.read(SLOW_SECONDS + second).slices for second in range(1, 5)]
    measured = gpu.read(2 * SLOW_SECONDS).slices

    assert {piece.utilization_percent for pieces in between for piece in pieces} == {20, 90}
    assert {piece.carried for pieces in between for piece in pieces} == {True}
    assert [(piece.utilization_percent, piece.carried) for piece in measured] == [
        (30, False),
        (90, False),
    ]
    assert opened.calls(SAMPLE) - before == 2


def test_a_gpu_that_is_divided_has_no_value_itself(opened: FakeNvml) -> None:
    gpu = device()
    gpu.read(0.0)

    assert gpu.read(SLOW_SECONDS).utilization_percent is None
    assert opened.calls("nvmlGpmSampleGet") == 0


def test_a_gpu_that_is_not_divided_is_not_asked(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu()]))
    gpu = device()
    gpu.read(0.0)
    gpu.read(SLOW_SECONDS)

    assert [opened.calls(name) for name in FUNCTIONS] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("gpu", "calls"),
    [(0, []), (1, [Call("nvmlGpmQueryDeviceSupport", error="FUNCTION_NOT_FOUND")])],
)
def test_a_gpu_without_counters_is_asked_once(
    opened: FakeNvml, gpu: int, calls: list[Call]
) -> None:
    opened.write(Scenario([Gpu(gpm=gpu, migs=[Mig()])], calls=calls))
    asked = device()
    seen = [busy(asked, turn * SLOW_SECONDS) for turn in range(3)]

    assert seen == [[None]] * 3
    assert [opened.calls(name) for name in FUNCTIONS] == [1, 0, 0, 0]


def test_a_gpu_that_did_not_say_is_asked_again(opened: FakeNvml) -> None:
    divide(opened, 50, calls=(Call("nvmlGpmQueryDeviceSupport", error="TIMEOUT"),))
    gpu = device()
    busy(gpu, 0.0)
    divide(opened, 50)

    assert [busy(gpu, turn * SLOW_SECONDS) for turn in (1, 2)] == [[None], [50]]


@pytest.mark.parametrize(
    ("told", "known"),
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
def test_what_is_no_share_of_time_is_not_known_and_a_trace_of_work_is_no_zero(
    opened: FakeNvml, told: Value, known: int | None
) -> None:
    divide(opened, told, 90)

    assert busy_twice(device()) == [known, 90]  # whatever one says, the other is known


def test_slices_of_one_gpu_instance_are_not_told_apart(opened: FakeNvml) -> None:
    shared = [Mig(gpu_instance=3, compute_instance=n, utilization_percent=n) for n in range(2)]
    opened.write(Scenario([Gpu(migs=[*shared, Mig(utilization_percent=90)])]))

    assert busy_twice(device()) == [None, None, 90]
    assert opened.calls(SAMPLE) == 2  # of the third alone


def test_no_slice_is_measured_while_the_instance_of_one_is_not_known(opened: FakeNvml) -> None:
    unknown = Call("nvmlDeviceGetGpuInstanceId", error="UNKNOWN", mig=0)
    divide(opened, 20, 90, calls=(unknown,))

    assert busy_twice(device()) == [None, None]
    assert opened.calls(SAMPLE) == 0


def test_samples_are_freed_when_slices_vanish(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    both = opened.samples()
    divide(opened, 20)
    busy(gpu, 2 * SLOW_SECONDS)
    one = opened.samples()
    opened.write(Scenario([Gpu()]))
    gpu.read(3 * SLOW_SECONDS)

    assert (both, one, opened.samples()) == (4, 2, 0)


def test_another_slice_with_the_same_instance_is_measured_anew(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(migs=[Mig(uuid="MIG-1", utilization_percent=90)])]))
    gpu = device()
    busy_twice(gpu)
    opened.write(Scenario([Gpu(migs=[Mig(uuid="MIG-2", utilization_percent=0)])]))

    assert [busy(gpu, turn * SLOW_SECONDS) for turn in (2, 3)] == [[None], [0]]


def test_a_gpu_divided_again_is_measured_anew(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    opened.write(Scenario([Gpu()]))
    gpu.read(2 * SLOW_SECONDS)
    divide(opened, 20, 90)

    assert [busy(gpu, turn * SLOW_SECONDS) for turn in (3, 4)] == [[None, None], [20, 90]]


def test_after_a_sample_that_failed_the_mean_is_of_the_longer_time(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 100, 100, calls=(Call(SAMPLE, error="TIMEOUT"),))
    failed = busy(gpu, 2 * SLOW_SECONDS)
    divide(opened, 60, 90)

    assert failed == [None, None]
    assert busy(gpu, 3 * SLOW_SECONDS) == [40, 90]
    assert opened.samples() == 4


def test_a_value_that_could_not_be_measured_is_not_carried(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    divide(opened, 20, 90, calls=(Call(SAMPLE, error="TIMEOUT"),))
    gpu.read(2 * SLOW_SECONDS)

    later = gpu.read(2 * SLOW_SECONDS + 1).slices

    assert [(piece.utilization_percent, piece.carried) for piece in later] == [(None, False)] * 2


def test_a_mean_over_a_very_long_time_is_not_shown(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)
    late = SLOW_SECONDS + LONGEST_SECONDS + 1

    assert [busy(gpu, late), busy(gpu, late + SLOW_SECONDS)] == [[None, None], [20, 90]]


@pytest.mark.parametrize(("function", "code"), [*itertools.product(FUNCTIONS, CODES)])
def test_an_error_costs_the_value_or_is_about_the_whole_gpu(
    opened: FakeNvml, function: str, code: int
) -> None:
    divide(opened, 20, 90, calls=(Call(function, error=code),))
    gpu = device()
    gpu.read(0.0)
    reading = gpu.read(SLOW_SECONDS)

    assert (reading.state == "ok") == (code not in FATAL)
    assert [piece.utilization_percent for piece in reading.slices] == (
        [None, None] if reading.state == "ok" else []
    )


def test_a_metrics_own_error_may_be_about_the_whole_gpu(opened: FakeNvml) -> None:
    divide(opened, error("GPU_IS_LOST"))
    gpu = device()
    gpu.read(0.0)

    assert gpu.read(SLOW_SECONDS).state == "lost"
    assert gpu.failure is not None and gpu.failure.code == GPU_IS_LOST


def test_samples_go_with_the_gpu_they_are_of(opened: FakeNvml) -> None:
    gpu = device()
    busy_twice(gpu)

    del gpu
    gc.collect()  # in whatever thread; the driver is only asked in one that may wait for it
    gone = opened.samples()
    device().read(0.0)

    assert gone == 4
    assert opened.samples() == 2  # one for each slice, of the new one


def test_a_closed_library_has_freed_all_samples_and_sees_none_again(opened: FakeNvml) -> None:
    gpu, sample = device(), Sample()
    busy_twice(gpu)
    nvml.close_library()
    left = opened.samples()
    nvml.open_library()

    with pytest.raises(NvmlError) as raised:
        sample.buffer()

    assert left == 0
    assert raised.value.code == UNINITIALIZED
    assert gpu.read(2 * SLOW_SECONDS).state == "error"


@pytest.mark.parametrize("calm", [True, False])
def test_a_driver_that_is_opened_anew_leaves_no_sample_behind(
    fake_nvml: FakeNvml, calm: bool
) -> None:
    migs = [Mig(), Mig()]
    driver, seen = Driver(), []
    for generation in range(3):
        fake_nvml.write(Scenario([Gpu(migs=migs)], Machine(generation=generation)))
        driver.open(generation * 100.0, calm)
        for second in range(2):
            driver.slots[0].read(generation * 100.0 + second * SLOW_SECONDS)
            gc.collect()
        seen.append(fake_nvml.samples())

    driver.close()

    assert seen == [4, 4, 4]
    assert fake_nvml.samples() == 0


def test_a_hung_sample_is_named_and_costs_its_gpu_only(fake_nvml: FakeNvml) -> None:
    gpus = [Gpu(uuid="GPU-1", migs=[Mig()]), Gpu(uuid="GPU-2", utilization_percent=42)]
    fake_nvml.write(Scenario(gpus, calls=[Call(SAMPLE, hang=True, gpu=0)]))
    watch = Watch(Driver(), patience=5.0, timeout=10.0, slow=0.5)
    pictures: list[Picture] = []

    def look(state: str, words: str) -> bool:
        pictures.append(watch.read(moment()))
        gpu = pictures[-1].gpus[0]
        return gpu.state == state and words in (gpu.reason or "")

    wait_until(lambda: look("error", f"stuck in {SAMPLE} of GPU 0 since"))
    other = pictures[-1].gpus[1]
    fake_nvml.write(Scenario(gpus))
    wait_until(lambda: look("ok", "") and not own_workers())
    watch.close()

    assert (other.state, other.utilization_percent) == ("ok", 42)
    assert fake_nvml.samples() == 0


def own_workers() -> bool:
    """Whether a GPU is still read by a thread of its own, in which NVML cannot be closed."""
    return sum(thread.name.startswith("nvml") for thread in threading.enumerate()) > 1
