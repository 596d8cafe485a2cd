"""What a GPU says of its memory's health becomes words, and goes with its cause."""

from collections.abc import Iterator

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.memory_health import FADE_SECONDS, LOOK_SECONDS, Health
from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.queries import Questions, Trace
from gpu_monitor.collector.gpu.watchdog import Watch
from tests.fake_nvml import Call, FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import N_A, Value

NOON = 1_700_049_600.0


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    fake_nvml.write(Scenario([Gpu()]))
    nvml.open_library()
    yield fake_nvml
    nvml.close_library()


class Patient:
    """A GPU whose health is asked for."""

    def __init__(self) -> None:
        self.handle = Handle.by_index(0)
        self.questions = Questions(self.handle, Trace())
        self.health = Health(lambda: NOON)

    def words(self, now: float = 0.0) -> tuple[str, ...]:
        self.health.look(self.questions, self.handle, now)
        return self.health.words


def test_only_a_row_that_cannot_be_remapped_is_a_failure(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1, retired_pending=1, ecc_uncorrected=2)]))
    patient = Patient()
    assert len(patient.words()) == 3 and not patient.health.failed
    opened.write(Scenario([Gpu(remapped_failed=1)]))
    assert len(patient.words(LOOK_SECONDS)) == 1 and patient.health.failed


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("remapped_pending", 1, "waits to be remapped: reset the GPU"),
        ("remapped_failed", 1, "could not be remapped: the card needs replacement"),
        ("retired_pending", 1, "waits to be retired: reset the GPU"),
        ("ecc_uncorrected", 1, "lost data once since"),
        ("ecc_uncorrected", 3, "lost data 3 times since"),
    ],
)
def test_each_fault_of_memory_is_said(opened: FakeNvml, key: str, value: Value, said: str) -> None:
    opened.write(Scenario([Gpu(**{key: value})]))  # type: ignore[arg-type] # by name
    (words,) = Patient().words()
    assert said in words


@pytest.mark.parametrize("value", [0, N_A, "error:UNKNOWN"])
def test_nothing_is_said_of_a_gpu_that_is_well_or_does_not_tell(
    opened: FakeNvml, value: Value
) -> None:
    gpu = Gpu(remapped_pending=value, retired_pending=value, ecc=value, ecc_uncorrected=value)
    opened.write(Scenario([gpu]))
    assert Patient().words() == ()


def test_a_word_goes_with_its_cause_a_minute_later(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1)]))
    patient = Patient()
    assert len(patient.words()) == 1
    opened.write(Scenario([Gpu(remapped_pending=0)]))
    assert len(patient.words(LOOK_SECONDS - 1)) == 1
    assert patient.words(LOOK_SECONDS) == ()


def losses(opened: FakeNvml, patient: Patient, errors: int, now: float) -> tuple[str, ...]:
    opened.write(Scenario([Gpu(ecc_uncorrected=errors)]))
    return patient.words(now)


def test_lost_data_that_was_found_is_told_for_a_day(opened: FakeNvml) -> None:
    patient = Patient()
    (found,) = losses(opened, patient, 3, 0.0)
    assert "3 times since the driver was loaded, it is not known when" in found
    assert losses(opened, patient, 3, FADE_SECONDS - 1) == (found,)
    assert losses(opened, patient, 3, FADE_SECONDS + LOOK_SECONDS) == ()


def test_lost_data_is_told_with_its_time_and_for_a_day_after_the_last(opened: FakeNvml) -> None:
    patient = Patient()
    assert losses(opened, patient, 0, 0.0) == ()
    (first,) = losses(opened, patient, 1, 100.0)
    assert "once since the driver was loaded, last noticed at 2023-11-15 12:00 UTC" in first
    losses(opened, patient, 2, FADE_SECONDS)
    (second,) = losses(opened, patient, 2, 2 * FADE_SECONDS - 1)
    assert "2 times" in second
    assert losses(opened, patient, 2, 2 * FADE_SECONDS + LOOK_SECONDS) == ()


def test_lost_data_after_a_new_load_of_the_driver_is_new(opened: FakeNvml) -> None:
    patient = Patient()
    losses(opened, patient, 3, 0.0)
    (again,) = losses(opened, patient, 1, FADE_SECONDS + LOOK_SECONDS)
    assert "once since" in again and "last noticed" in again


def test_what_needs_a_reset_does_not_fade(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1, remapped_failed=1, retired_pending=1)]))
    patient = Patient()
    assert len(patient.words()) == len(patient.words(10 * FADE_SECONDS)) == 3


def test_lost_data_does_not_become_new_when_nvml_is_opened_again(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(ecc_uncorrected=1)]))
    driver = Driver()
    told = []
    for now in (0.0, FADE_SECONDS + LOOK_SECONDS):
        driver.open(now, calm=True)
        (slot,) = driver.slots
        slot.read(now)
        told.append(len(slot.health_reasons(now)))
    driver.close()
    assert told == [1, 0]


def test_what_a_card_does_not_answer_is_asked_once(opened: FakeNvml) -> None:
    names = (
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetRetiredPagesPendingStatus",
        "nvmlDeviceGetTotalEccErrors",
    )
    calls = [Call(name, error="NOT_SUPPORTED") for name in names]
    opened.write(Scenario([Gpu(ecc_uncorrected=1)], calls=calls))
    patient = Patient()
    for minute in range(3):
        assert patient.words(minute * LOOK_SECONDS) == ()
    assert [opened.calls(name) for name in names] == [1, 1, 1]


def test_a_fault_is_a_problem_of_the_host_under_the_gpus_number(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu(remapped_failed=1)]))
    watch = Watch(Driver(), patience=20.0, timeout=60.0, slow=10.0)
    try:
        (problem,) = watch.read(moment()).problems
    finally:
        watch.close()
    assert problem.startswith("GPU 1: ") and "needs replacement" in problem
