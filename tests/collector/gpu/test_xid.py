"""What the driver reports of a GPU as it happens: heard, told in words, and fading."""

from collections.abc import Iterator

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import COUNT_SECONDS, Driver
from gpu_monitor.collector.gpu.watchdog import Watch
from gpu_monitor.collector.gpu.xid import FADE_SECONDS, MAX_KINDS, OF_PROGRAMS, Xids
from tests.collector.gpu.test_driver import look, look_on
from tests.fake_nvml import Call, FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.house import eventually

NOON = 1_700_049_600.0


@pytest.fixture
def driver(fake_nvml: FakeNvml, tmp_path: object) -> Iterator[Driver]:
    driver = Driver(pci_folder=str(tmp_path), gpu_folder=f"{tmp_path}/gpus")
    yield driver
    driver.close()


@pytest.fixture
def xids() -> Xids:
    return Xids(lambda: NOON)


def test_an_error_is_told_with_its_meaning_and_time(xids: Xids) -> None:
    xids.add(48, 0.0)
    assert xids.words(0.0) == (
        "Xid 48 (memory error that ECC could not correct) at 2023-11-15 12:00 UTC",
    )


def test_an_error_of_unknown_meaning_is_told_by_its_number(xids: Xids) -> None:
    xids.add(999, 0.0)
    assert xids.words(0.0) == ("Xid 999 at 2023-11-15 12:00 UTC",)


def test_a_gpu_that_fell_off_the_bus_has_failed_until_that_is_a_day_old(xids: Xids) -> None:
    xids.add(48, 0.0)
    assert not xids.has_failed(0.0)
    xids.add(79, 1.0)
    assert xids.has_failed(FADE_SECONDS)
    assert not xids.has_failed(1.0 + FADE_SECONDS)


def test_what_happens_again_is_counted_and_comes_first(xids: Xids) -> None:
    for code in (74, 48, 74):
        xids.add(code, 0.0)
    again, once = xids.words(0.0)
    assert again == "Xid 74 (error of an NVLink) 2 times, last at 2023-11-15 12:00 UTC"
    assert once.startswith("Xid 48 ")


def test_an_error_fades_a_day_after_the_last_of_its_kind(xids: Xids) -> None:
    xids.add(48, 0.0)
    xids.add(74, 100.0)
    xids.add(48, 200.0)
    assert len(xids.words(FADE_SECONDS + 99)) == 2
    (left,) = xids.words(FADE_SECONDS + 199)
    assert left.startswith("Xid 48 ")
    assert xids.words(FADE_SECONDS + 200) == ()


@pytest.mark.parametrize("code", sorted(OF_PROGRAMS))
def test_what_a_program_did_is_no_ailment_of_the_gpu(xids: Xids, code: int) -> None:
    xids.add(code, 0.0)
    assert xids.words(0.0) == ()


def test_only_so_many_kinds_are_kept_the_last_ones(xids: Xids) -> None:
    for code in range(200, 300):
        xids.add(code, 0.0)
    kept = xids.words(0.0)
    assert len(kept) == MAX_KINDS and kept[0].startswith("Xid 299 ")


def health_reasons(driver: Driver, now: float) -> list[list[str]]:
    """The first words of each reason of each GPU."""
    found = (slot.health_reasons(now) for slot in driver.slots)
    return [[" ".join(words.split()[:2]) for words in of_gpu] for of_gpu in found]


def test_an_error_is_heard_within_seconds_under_its_gpu(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu(xids=[62]), Gpu()]))
    look_on(driver, 0, 6)
    assert health_reasons(driver, 6.0) == [[], []]
    fake_nvml.write(Scenario([Gpu(xids=[62]), Gpu(xids=[48, 31, 74])]))
    look_on(driver, 6, 6 + int(COUNT_SECONDS))
    assert health_reasons(driver, 11.0) == [[], ["Xid 74", "Xid 48"]]


def test_a_lost_gpu_tells_what_happened_to_it(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([Gpu(remapped_pending=1)]))
    look_on(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(remapped_pending=1, xids=[79], lost=True)]))
    (reading,) = look_on(driver, 6, 60)
    assert reading.state == "lost"
    assert health_reasons(driver, 60.0) == [["Xid 79", "a faulty"]]


def test_an_error_is_remembered_when_nvml_is_opened_again(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    look_on(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(xids=[48])]))
    look_on(driver, 6, 12)
    fake_nvml.write(Scenario([Gpu(xids=[48])], Machine(generation=2)))
    look_on(driver, 12, 20)
    fake_nvml.write(Scenario([Gpu(xids=[48, 74])], Machine(generation=2)))
    look_on(driver, 20, 30)
    assert health_reasons(driver, 30.0) == [["Xid 74", "Xid 48"]]
    driver.close()
    assert fake_nvml.event_sets() == 0


def test_while_a_thread_hangs_in_nvml_no_event_set_is_freed(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    look_on(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu()], Machine(generation=2)))
    look(driver, 6.0)
    look(driver, 8.0, calm=False)
    assert fake_nvml.calls("nvmlEventSetFree") == 0


@pytest.mark.parametrize(
    "name", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"]
)
@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "UNKNOWN", "GPU_IS_LOST", "UNINITIALIZED"])
def test_a_driver_that_tells_no_events_is_read_all_the_same(
    fake_nvml: FakeNvml, driver: Driver, name: str, error: str
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[Call(name, error=error)]))
    readings = look_on(driver, 0, 20)
    assert [reading.state for reading in readings] == ["ok", "ok"]
    assert driver.problem is None and health_reasons(driver, 20.0) == [[], []]


def test_a_gpu_whose_errors_are_not_told_does_not_keep_the_others_from_being_heard(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    deaf = Call("nvmlDeviceRegisterEvents", error="NOT_SUPPORTED", gpu=0)
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[deaf]))
    look_on(driver, 0, 15)
    fake_nvml.write(Scenario([Gpu(xids=[48]), Gpu(xids=[48])], calls=[deaf]))
    look_on(driver, 15, 25)
    assert health_reasons(driver, 25.0) == [[], ["Xid 48"]]
    assert fake_nvml.calls("nvmlDeviceRegisterEvents") == 2


def test_an_error_is_a_problem_of_the_host_under_the_gpus_number(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    watch = Watch(Driver(), patience=20.0, timeout=60.0, slow=10.0)
    seconds = iter(range(0, 100_000, 6))

    def problems() -> tuple[str, ...]:
        now = moment()
        return watch.read(now._replace(monotonic=now.monotonic + next(seconds))).problems

    try:
        assert problems() == problems() == ()
        fake_nvml.write(Scenario([Gpu(), Gpu(xids=[119])]))
        (problem,) = eventually(lambda: problems() or None, "a problem")
    finally:
        watch.close()
    assert problem.startswith("GPU 1: Xid 119 (the GPU's own processor (GSP) does not answer")
    assert fake_nvml.event_sets() == 0
