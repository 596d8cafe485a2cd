"""NVML behind a deadline: slow and hung calls, in real threads."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gpu_monitor.collector.clock import Moment, moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.readings import GpuReading, Picture
from gpu_monitor.collector.gpu.watchdog import QUICK_READINGS, Watch
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as Machine

PATIENCE = 1.0
TIMEOUT = 3.4
SLOW = 0.2
"""More than in earnest: a busy machine must not make a quick GPU look slow."""
DEADLINE = 30.0
NOON = Moment(1000.0, 1000.0, 1_700_000_000.0)
GPUS = [Gpu(uuid=f"GPU-{number}", utilization_percent=10 + number) for number in range(4)]
HANG = Call("nvmlDeviceGetTemperature", hang=True, gpu=2)


@pytest.fixture
def watch(fake_nvml: FakeNvml) -> Iterator[Watch]:
    yield from watching(fake_nvml, Watch(Driver(), PATIENCE, TIMEOUT, SLOW))


@pytest.fixture
def patient(fake_nvml: FakeNvml, request: pytest.FixtureRequest) -> Iterator[Watch]:
    """One that waits for all that comes, and takes only what hangs for slow."""
    timeout = getattr(request, "param", TIMEOUT)
    yield from watching(fake_nvml, Watch(Driver(), DEADLINE, timeout, 5 * SLOW))


@pytest.fixture
def calm(fake_nvml: FakeNvml) -> Iterator[Watch]:
    """One for which it is always noon, so that nothing is slow nor ever given up."""
    clock = NOON.monotonic
    yield from watching(fake_nvml, Watch(Driver(), PATIENCE, TIMEOUT, SLOW, lambda: clock))


def watching(fake_nvml: FakeNvml, watch: Watch) -> Iterator[Watch]:
    fake_nvml.write(Scenario(GPUS))
    yield watch
    watch.close()
    fake_nvml.close()  # lets hung calls return
    join_workers()  # or one that returns late opens NVML within the next test


def read_until(watch: Watch, fulfilled: Callable[[Picture], bool]) -> Picture:
    """Read as a sampler does until the picture is as wanted."""
    give_up_at = time.monotonic() + DEADLINE
    while not fulfilled(picture := watch.read(moment())):
        assert time.monotonic() < give_up_at, f"never seen; last was {picture}"
        time.sleep(0.05)
    return picture


def join_workers() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("nvml"):
            thread.join(DEADLINE)


def states(picture: Picture) -> list[str]:
    return [gpu.state for gpu in picture.gpus]


def uses(picture: Picture) -> list[int | None]:
    return [gpu.utilization_percent for gpu in picture.gpus]


def workers() -> int:
    return sum(thread.name.startswith("nvml") for thread in threading.enumerate())


def later(seconds: float) -> Moment:
    now = moment()
    return Moment(now.monotonic + seconds, now.boottime + seconds, now.wall + seconds)


def test_the_first_picture_is_whole(calm: Watch) -> None:
    picture = calm.read(NOON)

    assert uses(picture) == [10, 11, 12, 13]
    assert picture.problems == ()
    assert picture.driver_version is not None


def test_one_thread_reads_all_gpus(calm: Watch) -> None:
    for _ in range(3):
        calm.read(NOON)

    assert workers() == 1


def test_no_driver_is_a_picture_with_a_problem(fake_nvml: FakeNvml, calm: Watch) -> None:
    fake_nvml.write(Scenario(driver=Machine(init_error="DRIVER_NOT_LOADED")))

    picture = calm.read(NOON)

    assert picture.gpus == ()
    assert len(picture.problems) == 1 and "driver not loaded" in picture.problems[0]


def test_a_hung_gpu_costs_its_own_values_only(fake_nvml: FakeNvml, patient: Watch) -> None:
    patient.read(moment())
    fake_nvml.write(
        Scenario([Gpu(uuid=f"GPU-{n}", utilization_percent=50) for n in range(4)], calls=[HANG])
    )

    first = patient.read(moment())
    picture = read_until(patient, lambda picture: picture.gpus[2].state == "error")

    assert uses(first) == [50, 50, 12, 50]  # the others go on in the very same sample
    assert uses(picture) == [50, 50, None, 50]
    assert picture.gpus[2].reason is not None
    assert "stuck in nvmlDeviceGetTemperature of GPU 2 since" in picture.gpus[2].reason
    assert picture.gpus[2].identity.uuid == "GPU-2"
    assert picture.problems == (picture.gpus[2].reason,)
    assert workers() == 2


def test_a_hang_is_named_with_one_text_as_long_as_it_lasts(
    fake_nvml: FakeNvml, patient: Watch
) -> None:
    patient.read(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    picture = read_until(patient, lambda picture: bool(picture.problems))

    texts = {patient.read(moment()).problems for _ in range(5)}

    assert texts == {picture.problems}


def test_reading_takes_its_patience_at_most(fake_nvml: FakeNvml, watch: Watch) -> None:
    everything = Call("nvmlDevice*", hang=True)
    watch.read(moment())
    fake_nvml.write(Scenario(GPUS, calls=[everything]))
    stopped: list[bool] = []

    reader = threading.Thread(target=lambda: stopped.append(bool(watch.read(moment()))))
    reader.start()
    reader.join(DEADLINE)

    assert stopped == [True]


def test_a_gpu_that_answers_again_is_ok_again(fake_nvml: FakeNvml, patient: Watch) -> None:
    patient.read(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    read_until(patient, lambda picture: picture.gpus[2].state == "error")
    fake_nvml.write(Scenario(GPUS))

    picture = read_until(patient, lambda picture: states(picture) == ["ok"] * 4)

    assert picture.problems == ()
    read_until(patient, lambda _: workers() == 1)


def test_a_driver_that_hangs_as_a_whole_costs_no_more_threads_than_gpus_and_one(
    fake_nvml: FakeNvml, watch: Watch
) -> None:
    watch.read(moment())
    fake_nvml.write(Scenario(GPUS, calls=[Call("nvmlDeviceGetUtilizationRates", hang=True)]))

    picture = read_until(watch, lambda picture: states(picture) == ["error"] * 4)

    assert workers() <= len(GPUS) + 1
    assert all(gpu.utilization_percent is None for gpu in picture.gpus)
    assert all(gpu.reason and "stuck in nvmlDeviceGet" in gpu.reason for gpu in picture.gpus)


def test_a_hung_opening_is_named(fake_nvml: FakeNvml, watch: Watch) -> None:
    fake_nvml.write(Scenario(GPUS, calls=[Call("nvmlInit*", hang=True)]))

    picture = read_until(watch, lambda picture: bool(picture.problems))

    assert picture.gpus == ()
    assert "NVML stuck in nvmlInit since" in picture.problems[0]
    assert workers() == 1


def test_a_slow_gpu_gets_a_worker_of_its_own_until_it_is_quick(
    fake_nvml: FakeNvml, watch: Watch
) -> None:
    watch.read(moment())
    slow = Call("nvmlDeviceGetPowerUsage", delay_ms=300, gpu=1)
    fake_nvml.write(Scenario(GPUS, calls=[slow]))
    read_until(watch, lambda _: workers() == 2)

    with_slow = watch.read(moment())
    fake_nvml.write(Scenario(GPUS))
    for _ in range(QUICK_READINGS):
        watch.read(moment())
    read_until(watch, lambda _: workers() == 1)

    assert uses(with_slow) == [10, 11, 12, 13]
    assert with_slow.problems == ()


@pytest.mark.parametrize("patient", [100.0], indirect=True)  # more than this test may take
def test_a_value_older_than_the_timeout_is_never_shown(fake_nvml: FakeNvml, patient: Watch) -> None:
    patient.read(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    patient.read(moment())

    young: GpuReading = patient.read(later(50.0)).gpus[2]
    old: GpuReading = patient.read(later(101.0)).gpus[2]

    assert (young.state, young.utilization_percent) == ("ok", 12)
    assert (old.state, old.utilization_percent) == ("error", None)


def test_lists_of_processes_that_fail_are_one_problem_for_all_gpus(
    fake_nvml: FakeNvml, calm: Watch
) -> None:
    kinds = ("Compute", "MPSCompute", "Graphics")
    calls = [Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION") for kind in kinds]
    fake_nvml.write(Scenario(GPUS, calls=calls))

    (problem,) = calm.read(NOON).problems

    assert problem.startswith("processes of GPU 0, 1, 2, 3 not readable: no permission")


def test_a_closed_watch_leaves_no_thread_and_no_open_library(
    fake_nvml: FakeNvml, calm: Watch
) -> None:
    calm.read(NOON)

    calm.close()

    join_workers()
    assert workers() == 0
    assert fake_nvml.calls("nvmlShutdown") == 1
