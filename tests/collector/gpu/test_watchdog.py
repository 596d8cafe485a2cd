"""The watchdog with calls that are slow or hang, in real threads."""

import threading
import time
from collections.abc import Callable, Iterator

import pynvml
import pytest

from gpu_monitor.collector.clock import Moment, moment
from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.driver import LAST_REOPEN_SECONDS, Driver
from gpu_monitor.collector.gpu.openings import CARRIED_SECONDS
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.watchdog import QUICK_READINGS, Watchdog
from gpu_monitor.collector.source_guard import FAILURES_TO_REPORT, SourceGuard
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Mig, Scenario
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.finding_lines import driver_lines
from tests.support.house import eventually

PATIENCE = 1.0
TIMEOUT = 3.4
SLOW = 0.2
"""More than the default: a busy machine must not make a quick GPU seem slow."""
DEADLINE = 30.0
NOON = Moment(1000.0, 1000.0, 1_700_000_000.0)
GPUS = [Gpu(uuid=f"GPU-{number}", utilization_percent=10 + number) for number in range(4)]
HANG = Call("nvmlDeviceGetPowerUsage", hang=True, gpu=2)


@pytest.fixture
def watch(fake_nvml: FakeNvml) -> Iterator[Watchdog]:
    yield from watching(fake_nvml, Watchdog(Driver(), PATIENCE, TIMEOUT, SLOW))


@pytest.fixture
def patient(fake_nvml: FakeNvml, request: pytest.FixtureRequest) -> Iterator[Watchdog]:
    """A watchdog that waits for every reading, and only considers a call slow that hangs."""
    timeout = getattr(request, "param", TIMEOUT)
    yield from watching(fake_nvml, Watchdog(Driver(), DEADLINE, timeout, 5 * SLOW))


@pytest.fixture
def calm(fake_nvml: FakeNvml) -> Iterator[Watchdog]:
    """A watchdog for which it is always noon, so that no call is ever slow or given up."""
    clock = NOON.monotonic
    yield from watching(fake_nvml, Watchdog(Driver(), PATIENCE, TIMEOUT, SLOW, lambda: clock))


def watching(fake_nvml: FakeNvml, watch: Watchdog) -> Iterator[Watchdog]:
    fake_nvml.write(Scenario(GPUS))
    yield watch
    watch.close()
    fake_nvml.close()  # lets hung calls return
    join_workers()  # or one that returns late opens NVML within the next test


def is_complete(reading: DriverReading) -> bool:
    """Whether it has every GPU's utilization and no problem."""
    return uses(reading) == [10, 11, 12, 13] and driver_lines(reading) == ()


def collect_until(watch: Watchdog, fulfilled: Callable[[DriverReading], bool]) -> DriverReading:
    """Collect as the loop does until the reading satisfies `fulfilled`."""
    give_up_at = time.monotonic() + DEADLINE
    while not fulfilled(reading := watch.collect(moment())):
        assert time.monotonic() < give_up_at, f"never seen; last was {reading}"
        time.sleep(0.05)
    return reading


def join_workers() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("nvml"):
            thread.join(DEADLINE)


def states(reading: DriverReading) -> list[str]:
    return [gpu.state for gpu in reading.gpus]


def uses(reading: DriverReading) -> list[int | None]:
    return [gpu.utilization_percent for gpu in reading.gpus]


def workers() -> int:
    return sum(thread.name.startswith("nvml") for thread in threading.enumerate())


def later(seconds: float) -> Moment:
    now = moment()
    return Moment(now.monotonic + seconds, now.boottime + seconds, now.wall + seconds)


def test_the_first_reading_is_complete(calm: Watchdog) -> None:
    reading = calm.collect(NOON)

    assert uses(reading) == [10, 11, 12, 13]
    assert driver_lines(reading) == ()
    assert reading.driver_version is not None


def test_one_thread_reads_all_gpus(calm: Watchdog) -> None:
    for _ in range(3):
        calm.collect(NOON)

    assert workers() == 1


def test_no_driver_is_a_problem(fake_nvml: FakeNvml, calm: Watchdog) -> None:
    fake_nvml.write(Scenario(driver=Machine(init_error="DRIVER_NOT_LOADED")))

    reading = calm.collect(NOON)

    assert reading.gpus == ()
    (line,) = driver_lines(reading)
    assert "driver not loaded" in line and reading.findings[0].kind == "driver"


def test_a_gpu_that_hangs_loses_its_own_values_only(fake_nvml: FakeNvml, patient: Watchdog) -> None:
    patient.collect(moment())
    fake_nvml.write(
        Scenario([Gpu(uuid=f"GPU-{n}", utilization_percent=50) for n in range(4)], calls=[HANG])
    )

    first = patient.collect(moment())
    reading = collect_until(patient, lambda reading: reading.gpus[2].state == "error")

    assert uses(first) == [50, 50, 12, 50]  # the others go on in the very same sample
    assert uses(reading) == [50, 50, None, 50]
    assert reading.gpus[2].reason is not None
    assert "stuck in nvmlDeviceGetPowerUsage of GPU 2 since" in reading.gpus[2].reason
    assert reading.gpus[2].identity.uuid == "GPU-2"
    assert driver_lines(reading) == (f"GPU 2: {reading.gpus[2].reason}",)
    assert [finding.kind for finding in reading.gpus[2].findings] == ["nvml_stuck"]
    assert workers() == 2


def test_a_hang_keeps_one_text_for_as_long_as_it_lasts(
    fake_nvml: FakeNvml, patient: Watchdog
) -> None:
    patient.collect(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    reading = collect_until(patient, lambda reading: bool(driver_lines(reading)))

    texts = {driver_lines(patient.collect(moment())) for _ in range(5)}

    assert texts == {driver_lines(reading)}


def test_collecting_gives_up_when_its_patience_ends(fake_nvml: FakeNvml, watch: Watchdog) -> None:
    everything = Call("nvmlDevice*", hang=True)
    watch.collect(moment())
    fake_nvml.write(Scenario(GPUS, calls=[everything]))
    stopped: list[bool] = []

    reader = threading.Thread(target=lambda: stopped.append(bool(watch.collect(moment()))))
    reader.start()
    reader.join(DEADLINE)

    assert stopped == [True]


def test_a_gpu_that_answers_again_is_ok_again(fake_nvml: FakeNvml, patient: Watchdog) -> None:
    patient.collect(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    collect_until(patient, lambda reading: reading.gpus[2].state == "error")
    fake_nvml.write(Scenario(GPUS))

    reading = collect_until(patient, lambda reading: states(reading) == ["ok"] * 4)

    assert driver_lines(reading) == ()
    collect_until(patient, lambda _: workers() == 1)


def test_a_driver_that_hangs_takes_at_most_one_thread_per_gpu_and_one(
    fake_nvml: FakeNvml, watch: Watchdog
) -> None:
    watch.collect(moment())
    fake_nvml.write(Scenario(GPUS, calls=[Call("nvmlDeviceGetUtilizationRates", hang=True)]))

    reading = collect_until(watch, lambda reading: states(reading) == ["error"] * 4)

    assert workers() <= len(GPUS) + 1
    assert all(gpu.utilization_percent is None for gpu in reading.gpus)
    assert all(gpu.reason and "stuck in nvmlDeviceGet" in gpu.reason for gpu in reading.gpus)


def test_an_opening_of_nvml_that_hangs_is_named(fake_nvml: FakeNvml, watch: Watchdog) -> None:
    fake_nvml.write(Scenario(GPUS, calls=[Call("nvmlInit*", hang=True)]))

    reading = collect_until(watch, lambda reading: bool(driver_lines(reading)))

    assert reading.gpus == ()
    assert "NVML stuck in nvmlInit since" in driver_lines(reading)[0]
    assert workers() == 1


def test_a_gpu_whose_opening_hangs_from_the_start_is_named_and_the_others_are_read(
    fake_nvml: FakeNvml,
) -> None:
    ahead = [0.0]
    watch = Watchdog(Driver(), PATIENCE, TIMEOUT, SLOW, lambda: later(ahead[0]).monotonic)
    call = Call("nvmlDeviceGetHandleByIndex_v2", hang=True, gpu=2)
    fake_nvml.write(Scenario(GPUS, calls=[call]))

    def collected(fulfilled: Callable[[DriverReading], bool]) -> DriverReading:
        return eventually(
            lambda: reading if fulfilled(reading := watch.collect(later(ahead[0]))) else None,
            "the reading",
            DEADLINE,
        )

    named = collected(lambda reading: len(reading.gpus) == 3 and bool(driver_lines(reading)))
    ahead[0] = CARRIED_SECONDS
    given_up = collected(lambda reading: states(reading) == ["ok", "ok", "error", "ok"])
    fake_nvml.write(Scenario(GPUS))
    healed = collected(lambda reading: driver_lines(reading) == ())
    watch.close()
    join_workers()

    assert uses(named) == [10, 11, 13]
    (problem,) = driver_lines(named)
    assert "NVML stuck in nvmlDeviceGetHandleByIndex of GPU 2 since" in problem
    assert given_up.gpus[2].reason is not None
    assert "stuck in nvmlDeviceGetHandleByIndex" in given_up.gpus[2].reason
    assert uses(healed) == [10, 11, 12, 13]


def test_a_slow_gpu_has_a_worker_of_its_own_until_it_is_quick(
    fake_nvml: FakeNvml, watch: Watchdog
) -> None:
    watch.collect(moment())
    slow = Call("nvmlDeviceGetPowerUsage", delay_ms=300, gpu=1)
    fake_nvml.write(Scenario(GPUS, calls=[slow]))
    collect_until(watch, lambda _: workers() == 2)

    collect_until(watch, lambda reading: is_complete(reading) and workers() == 2)
    fake_nvml.write(Scenario(GPUS))
    for _ in range(QUICK_READINGS):
        watch.collect(moment())
    collect_until(watch, lambda reading: is_complete(reading) and workers() == 1)


@pytest.mark.parametrize("patient", [100.0], indirect=True)  # more than this test may take
def test_a_value_older_than_the_timeout_is_never_shown(
    fake_nvml: FakeNvml, patient: Watchdog
) -> None:
    patient.collect(moment())
    fake_nvml.write(Scenario(GPUS, calls=[HANG]))
    patient.collect(moment())

    young: GpuReading = patient.collect(later(50.0)).gpus[2]
    old: GpuReading = patient.collect(later(101.0)).gpus[2]

    assert (young.state, young.utilization_percent) == ("ok", 12)
    assert (old.state, old.utilization_percent) == ("error", None)


def test_unreadable_process_lists_are_one_problem_for_all_gpus(
    fake_nvml: FakeNvml, calm: Watchdog
) -> None:
    kinds = ("Compute", "MPSCompute", "Graphics")
    calls = [Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION") for kind in kinds]
    fake_nvml.write(Scenario(GPUS, calls=calls))

    (line,) = driver_lines(calm.collect(NOON))

    assert line.startswith("GPU 0, 1, 2, 3: processes cannot be read: no permission")


def test_slices_that_alone_may_not_be_read_are_a_problem_of_their_gpu(
    fake_nvml: FakeNvml, calm: Watchdog
) -> None:
    refused = [
        Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NO_PERMISSION", gpu=1, mig=0)
        for kind in ("Compute", "MPSCompute", "Graphics")
    ]
    fake_nvml.write(Scenario([Gpu(), Gpu(migs=[Mig()])], calls=refused))
    _, divided = calm.collect(NOON).gpus
    (finding,) = divided.findings
    assert finding.words == "processes cannot be read: no permission to read MIG slices"
    assert "/dev/nvidia-caps" in (finding.advice or "")


def test_a_narrow_link_is_a_finding_of_its_gpu_while_it_answers(
    fake_nvml: FakeNvml, patient: Watchdog
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu(pcie_width=4)]))
    found = patient.collect(moment()).gpus
    fake_nvml.write(Scenario([Gpu(), Gpu(pcie_width=4, lost=True)]))
    lost = patient.collect(moment()).gpus[1]

    assert [[finding.kind for finding in gpu.findings] for gpu in found] == [[], ["pcie_narrow"]]
    assert [finding.kind for finding in lost.findings] == ["gpu_lost"]


def test_a_query_that_the_package_lacks_costs_its_value_and_is_a_problem(
    calm: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pynvml, "nvmlDeviceGetUtilizationRates")

    reading = calm.collect(NOON)

    assert states(reading) == ["ok"] * 4 and uses(reading) == [None] * 4
    assert [gpu.temperature_celsius for gpu in reading.gpus] == [40] * 4
    (problem,) = driver_lines(reading)
    assert problem.startswith(
        "GPU 0, 1, 2, 3: cannot be read completely: utilization: internal error: AttributeError:"
    )


def test_gpus_that_an_internal_error_keeps_from_opening_are_a_problem(
    calm: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons")

    reading = calm.collect(NOON)

    assert states(reading) == ["error"] * 4
    (problem,) = driver_lines(reading)
    assert "internal error: AttributeError:" in problem and problem.startswith("GPU 0, 1, 2, 3: ")


def test_a_driver_that_fails_in_an_unknown_way_is_a_problem_and_is_opened_again(
    fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, now = SourceGuard(), [NOON.monotonic]
    watch = Watchdog(Driver(), PATIENCE, TIMEOUT, SLOW, lambda: now[0], guard)
    fake_nvml.write(Scenario(GPUS))
    found: list[Finding] = []
    with monkeypatch.context() as broken:
        broken.delattr(pynvml, "nvmlDeviceGetCount")
        for _ in range(FAILURES_TO_REPORT):
            watch.collect(Moment(now[0], now[0], NOON.wall))
            found = guard.settle()
            now[0] += LAST_REOPEN_SECONDS

    (problem,) = found
    assert problem.line.startswith("the driver cannot be read: AttributeError:")
    assert states(watch.collect(Moment(now[0], now[0], NOON.wall))) == ["ok"] * 4
    assert guard.settle() == []
    watch.close()
    join_workers()


def test_a_closed_watchdog_leaves_no_thread_and_no_open_library(
    fake_nvml: FakeNvml, calm: Watchdog
) -> None:
    calm.collect(NOON)

    calm.close()

    join_workers()
    assert workers() == 0
    assert fake_nvml.calls("nvmlShutdown") == 1
