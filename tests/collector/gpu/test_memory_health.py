"""Memory faults that a GPU reports become reasons in words, which clear with their cause."""

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.memory_health import (
    ECC_FADE_SECONDS,
    MEMORY_HEALTH_SECONDS,
    MemoryHealth,
)
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries, Trace
from gpu_monitor.collector.gpu.watchdog import Watchdog
from tests.fake_nvml import Call, FakeNvml, Gpu, Scenario
from tests.fake_nvml.scenario import N_A, Value
from tests.support.finding_lines import driver_lines

NOON = 1_700_049_600.0


class Patient:
    """GPU 0, whose health is polled."""

    def __init__(self) -> None:
        self.handle = Handle.by_index(0, Trace())
        self.questions = Queries()
        self.health = MemoryHealth(lambda: NOON)

    @property
    def has_failed(self) -> bool:
        return any(finding.severity == "critical" for finding in self.health.findings)

    def reasons(self, now: float = 0.0) -> tuple[str, ...]:
        self.health.poll(self.questions, self.handle, now)
        return tuple(finding.line for finding in self.health.findings)


def test_only_a_row_that_cannot_be_remapped_is_a_failure(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1, retired_pending=1, ecc_uncorrected=2)]))
    patient = Patient()
    assert len(patient.reasons()) == 3 and not patient.has_failed
    opened.write(Scenario([Gpu(remapped_failed=1)]))
    assert len(patient.reasons(MEMORY_HEALTH_SECONDS)) == 1 and patient.has_failed


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (1, "reset the GPU"),
        (2, "reboot the host"),
        (4, "end all programs that access other GPUs directly (peer to peer), then reset the GPU"),
        (99, "take recovery action 99"),
    ],
)
def test_a_gpu_has_failed_while_the_driver_recommends_a_recovery(
    opened: FakeNvml, action: int, words: str
) -> None:
    opened.write(Scenario([Gpu(fields={230: action})]))
    patient = Patient()
    assert patient.reasons() == (f"the driver recommends a recovery: {words}",)
    assert patient.has_failed and patient.health.needs_recovery
    opened.write(Scenario([Gpu(fields={230: 0})]))
    assert patient.reasons(MEMORY_HEALTH_SECONDS) == ()
    assert not patient.has_failed and not patient.health.needs_recovery


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("remapped_pending", 1, "waiting to be remapped: reset the GPU"),
        ("remapped_failed", 1, "could not be remapped: replace the card"),
        ("retired_pending", 1, "waiting to be retired: reset the GPU"),
        ("ecc_uncorrected", 1, "1 uncorrected ECC error since"),
        ("ecc_uncorrected", 3, "3 uncorrected ECC errors since"),
    ],
)
def test_each_memory_fault_is_reported(
    opened: FakeNvml, key: str, value: Value, words: str
) -> None:
    opened.write(Scenario([Gpu(**{key: value})]))  # type: ignore[arg-type] # by name
    (reason,) = Patient().reasons()
    assert words in reason


@pytest.mark.parametrize("value", [0, N_A, "error:UNKNOWN"])
def test_a_healthy_or_unresponsive_gpu_has_no_reasons(opened: FakeNvml, value: Value) -> None:
    gpu = Gpu(remapped_pending=value, retired_pending=value, ecc=value, ecc_uncorrected=value)
    opened.write(Scenario([gpu]))
    assert Patient().reasons() == ()


def test_a_reason_clears_within_a_minute_of_its_cause(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1)]))
    patient = Patient()
    assert len(patient.reasons()) == 1
    opened.write(Scenario([Gpu(remapped_pending=0)]))
    assert len(patient.reasons(MEMORY_HEALTH_SECONDS - 1)) == 1
    assert patient.reasons(MEMORY_HEALTH_SECONDS) == ()


def after_errors(opened: FakeNvml, patient: Patient, errors: int, now: float) -> tuple[str, ...]:
    opened.write(Scenario([Gpu(ecc_uncorrected=errors)]))
    return patient.reasons(now)


@pytest.mark.parametrize("count", [2**32 - 1, 2**53])
def test_an_impossible_error_count_is_no_reason(opened: FakeNvml, count: int) -> None:
    opened.write(Scenario([Gpu(ecc_uncorrected=count)]))

    assert Patient().reasons() == ()


def test_errors_found_at_the_start_are_reported_for_a_day(opened: FakeNvml) -> None:
    patient = Patient()
    (found,) = after_errors(opened, patient, 3, 0.0)
    assert found == "3 uncorrected ECC errors since the driver was loaded (time unknown)"
    assert after_errors(opened, patient, 3, ECC_FADE_SECONDS - 1) == (found,)
    assert after_errors(opened, patient, 3, ECC_FADE_SECONDS + MEMORY_HEALTH_SECONDS) == ()


def test_errors_are_reported_with_their_time_until_a_day_after_the_last(opened: FakeNvml) -> None:
    patient = Patient()
    assert after_errors(opened, patient, 0, 0.0) == ()
    (first,) = after_errors(opened, patient, 1, 100.0)
    assert (
        first
        == "1 uncorrected ECC error since the driver was loaded (last seen at 2023-11-15 12:00 UTC)"
    )
    after_errors(opened, patient, 2, ECC_FADE_SECONDS)
    (second,) = after_errors(opened, patient, 2, 2 * ECC_FADE_SECONDS - 1)
    assert "2 uncorrected" in second
    assert after_errors(opened, patient, 2, 2 * ECC_FADE_SECONDS + MEMORY_HEALTH_SECONDS) == ()


def test_errors_after_a_reload_of_the_driver_are_new(opened: FakeNvml) -> None:
    patient = Patient()
    after_errors(opened, patient, 3, 0.0)
    (again,) = after_errors(opened, patient, 1, ECC_FADE_SECONDS + MEMORY_HEALTH_SECONDS)
    assert "1 uncorrected" in again and "last seen" in again


def test_reasons_that_need_a_reset_do_not_expire(opened: FakeNvml) -> None:
    opened.write(Scenario([Gpu(remapped_pending=1, remapped_failed=1, retired_pending=1)]))
    patient = Patient()
    assert len(patient.reasons()) == len(patient.reasons(10 * ECC_FADE_SECONDS)) == 3


def test_errors_do_not_become_new_when_nvml_is_reopened(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(ecc_uncorrected=1)]))
    driver = Driver()
    reported = []
    for now in (0.0, ECC_FADE_SECONDS + MEMORY_HEALTH_SECONDS):
        driver.open(now, is_calm=True)
        (slot,) = driver.slots
        slot.refresh(now)
        reported.append(len(slot.health_findings(now)))
    driver.close()
    assert reported == [1, 0]


def test_unsupported_queries_are_made_once(opened: FakeNvml) -> None:
    names = (
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetRetiredPagesPendingStatus",
        "nvmlDeviceGetTotalEccErrors",
    )
    calls = [Call(name, error="NOT_SUPPORTED") for name in names]
    opened.write(Scenario([Gpu(ecc_uncorrected=1)], calls=calls))
    patient = Patient()
    for minute in range(3):
        assert patient.reasons(minute * MEMORY_HEALTH_SECONDS) == ()
    assert [opened.calls(name) for name in names] == [1, 1, 1]


def test_a_memory_fault_is_a_problem_of_the_host_with_the_gpus_index(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu(remapped_failed=1)]))
    watch = Watchdog(Driver(), patience=20.0, timeout=60.0, slow=10.0)
    try:
        (problem,) = driver_lines(watch.collect(moment()))
    finally:
        watch.close()
    assert problem.startswith("GPU 1: ") and "replace the card" in problem
