"""Critical errors that the driver reports of a GPU: received, put into words, faded."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu.driver import CHANGE_CHECK_SECONDS, Driver
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.gpu.xid import MAX_XID_CODES, XID_FADE_SECONDS, XidLog
from gpu_monitor.collector.gpu.xid_catalog import (
    APPLICATION_XIDS,
    CROSS_USER_XIDS,
    DEGRADED_XIDS,
    FAILED_XIDS,
)
from tests.collector.gpu.test_driver import run_rounds
from tests.fake_nvml import Call, FakeNvml, Gpu, Process, Scenario, error
from tests.fake_nvml.scenario import Driver as Machine
from tests.support.finding_lines import driver_lines
from tests.support.house import eventually

NOON = 1_700_049_600.0
RECOVERY_ACTION = 230
"""NVML_FI_DEV_GET_GPU_RECOVERY_ACTION."""


@pytest.fixture
def driver(fake_nvml: FakeNvml, tmp_path: object) -> Iterator[Driver]:
    driver = Driver(pci_folder=str(tmp_path), gpu_folder=f"{tmp_path}/gpus")
    yield driver
    driver.close()


@pytest.fixture
def xids() -> XidLog:
    return XidLog(lambda: NOON)


def lines(xids: XidLog, now: float) -> tuple[str, ...]:
    return tuple(finding.line for finding in xids.findings(now))


def has_failed(xids: XidLog, now: float) -> bool:
    return any(finding.severity == "critical" for finding in xids.findings(now))


def test_an_error_is_reported_with_its_meaning_and_time(xids: XidLog) -> None:
    xids.record(48, 0.0)
    assert lines(xids, 0.0) == (
        "Xid 48 (uncorrectable memory (ECC) error) at 2023-11-15 12:00 UTC",
    )


def test_an_error_of_unknown_meaning_is_reported_by_its_number(xids: XidLog) -> None:
    xids.record(999, 0.0)
    assert lines(xids, 0.0) == ("Xid 999 at 2023-11-15 12:00 UTC",)


def test_an_error_is_in_one_class_of_the_catalogue_at_most() -> None:
    classes = [APPLICATION_XIDS, DEGRADED_XIDS.keys(), FAILED_XIDS.keys()]
    assert sum(map(len, classes)) == len(frozenset().union(*classes))
    assert CROSS_USER_XIDS <= APPLICATION_XIDS


@pytest.mark.parametrize("code", sorted(FAILED_XIDS))
def test_a_gpu_has_failed_until_it_is_reset(xids: XidLog, code: int) -> None:
    xids.record(code, 0.0)
    later = 10 * XID_FADE_SECONDS
    assert has_failed(xids, later) and len(lines(xids, later)) == 1
    xids.mark_reset()
    assert not has_failed(xids, 0.0) and lines(xids, 0.0) == ()


@pytest.mark.parametrize("code", [*DEGRADED_XIDS, 173, 999])
def test_other_errors_leave_a_gpu_degraded_for_a_day_even_after_a_reset(
    xids: XidLog, code: int
) -> None:
    xids.record(code, 0.0)
    xids.mark_reset()
    assert not has_failed(xids, 0.0)
    assert len(lines(xids, XID_FADE_SECONDS - 1)) == 1 and lines(xids, XID_FADE_SECONDS) == ()


def test_a_repeated_error_is_counted_and_comes_first(xids: XidLog) -> None:
    for code in (74, 48, 74):
        xids.record(code, 0.0)
    again, once = lines(xids, 0.0)
    assert again == "Xid 74 (NVLink error) 2 times, last at 2023-11-15 12:00 UTC"
    assert once.startswith("Xid 48 ")


def test_an_error_expires_a_day_after_the_last_one_with_its_code(xids: XidLog) -> None:
    xids.record(48, 0.0)
    xids.record(74, 100.0)
    xids.record(48, 200.0)
    assert len(lines(xids, XID_FADE_SECONDS + 99)) == 2
    (left,) = lines(xids, XID_FADE_SECONDS + 199)
    assert left.startswith("Xid 48 ")
    assert lines(xids, XID_FADE_SECONDS + 200) == ()


@pytest.mark.parametrize("code", sorted(APPLICATION_XIDS))
def test_a_programs_fault_is_no_reason_against_the_gpu(xids: XidLog, code: int) -> None:
    xids.record(code, 0.0)
    assert lines(xids, 0.0) == ()


def test_only_the_latest_codes_are_kept(xids: XidLog) -> None:
    for code in range(200, 300):
        xids.record(code, 0.0)
    kept = lines(xids, 0.0)
    assert len(kept) == MAX_XID_CODES and kept[0].startswith("Xid 299 ")


def test_a_failure_is_kept_however_many_other_errors_follow(xids: XidLog) -> None:
    for code in (79, *range(200, 300)):
        xids.record(code, 0.0)
    kept = lines(xids, 0.0)
    assert len(kept) == MAX_XID_CODES and kept[-1].startswith("Xid 79 ")


@pytest.mark.parametrize(
    ("hits", "now", "users"),
    [
        ([(13, 0.0, {1000}), (31, 60.0, {1001})], 60.0, 2),
        ([(31, 0.0, {1000}), (31, 1.0, {1001}), (13, 2.0, {1002})], 2.0, 3),
        ([(31, 0.0, {1000}), (31, 60.0, {1000})], 60.0, 0),
        ([(31, 0.0, {1000}), (43, 60.0, {1001})], 60.0, 0),
        ([(31, 0.0, {1000, 1001})], 0.0, 0),
        ([(31, 0.0, set()), (31, 60.0, {1001})], 60.0, 0),
        ([(31, 0.0, {1000}), (31, XID_FADE_SECONDS, {1001})], XID_FADE_SECONDS, 0),
        ([(31, 0.0, {1000}), (31, 60.0, {1001})], XID_FADE_SECONDS, 0),
    ],
)
def test_program_errors_of_several_users_within_a_day_point_to_the_card(
    hits: list[tuple[int, float, set[int]]], now: float, users: int
) -> None:
    current: set[int] = set()
    xids = XidLog(lambda: NOON, lambda now: frozenset(current))
    for code, at, owners in hits:
        current = owners
        xids.record(code, at)
    words = f"Xid 13 or 31 ended programs of {users} users within a day"
    assert [each.split(":")[0] for each in lines(xids, now)] == ([words] if users else [])
    assert not has_failed(xids, now)


@contextlib.contextmanager
def process_of(uid: int) -> Iterator[int]:
    """The pid of a process that this user runs."""
    process = subprocess.Popen(["sleep", "600"], user=uid)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def health_reasons(driver: Driver, now: float) -> list[list[str]]:
    """The first words of each reason of each GPU."""
    found = ([each.line for each in slot.health_findings(now)] for slot in driver.slots)
    return [[" ".join(words.split()[:2]) for words in of_gpu] for of_gpu in found]


def test_an_error_is_reported_within_seconds_under_its_gpu(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu(xids=[62]), Gpu()]))
    run_rounds(driver, 0, 6)
    assert health_reasons(driver, 6.0) == [[], []]
    fake_nvml.write(Scenario([Gpu(xids=[62]), Gpu(xids=[48, 31, 74])]))
    run_rounds(driver, 6, 6 + int(CHANGE_CHECK_SECONDS))
    assert health_reasons(driver, 11.0) == [[], ["Xid 74", "Xid 48"]]


def test_a_lost_gpu_keeps_its_reasons(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([Gpu(remapped_pending=1)]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(remapped_pending=1, xids=[79], lost=True)]))
    (reading,) = run_rounds(driver, 6, 60)
    assert reading.state == "lost"
    assert health_reasons(driver, 60.0) == [["the driver", "Xid 79", "a faulty"]]


def test_that_a_lost_gpu_fell_off_the_bus_is_one_finding(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    watch = Watchdog(Driver(), patience=20.0, timeout=60.0, slow=10.0)
    seconds = iter(range(0, 100_000, 6))

    def kinds() -> list[tuple[str, str]]:
        now = moment()
        later = now._replace(monotonic=now.monotonic + next(seconds))
        return [(each.kind, each.key) for each in watch.collect(later).gpus[0].findings]

    try:
        assert kinds() == kinds() == []
        fake_nvml.write(Scenario([Gpu(xids=[48, 79])]))
        eventually(lambda: ("xid", "79") in kinds(), "the error")
        fake_nvml.write(Scenario([Gpu(xids=[48, 79], lost=True)]))
        eventually(lambda: kinds() == [("gpu_lost", ""), ("xid", "48")], "the loss")
    finally:
        watch.close()


def test_a_failure_ends_once_the_lost_gpu_answers_again(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(xids=[79, 48], lost=True)]))
    run_rounds(driver, 6, 60)
    assert has_failed(driver.slots[0].xids, 60.0)
    fake_nvml.write(Scenario([Gpu(xids=[79, 48])]))
    (reading,) = run_rounds(driver, 60, 200)
    assert reading.state == "ok" and not has_failed(driver.slots[0].xids, 200.0)
    assert health_reasons(driver, 200.0) == [["Xid 48"]]


def test_a_failure_ends_once_the_driver_is_reloaded(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(xids=[119])]))
    run_rounds(driver, 6, 12)
    assert has_failed(driver.slots[0].xids, 12.0)
    fake_nvml.write(Scenario([Gpu(xids=[119])], Machine(generation=2)))
    run_rounds(driver, 12, 20)
    assert not has_failed(driver.slots[0].xids, 20.0) and health_reasons(driver, 20.0) == [[]]


def test_a_failure_ends_once_the_driver_no_longer_recommends_a_recovery(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu(fields={RECOVERY_ACTION: 0})]))
    run_rounds(driver, 0, 6)
    needs_reset = Gpu(xids=[109, 154], fields={RECOVERY_ACTION: 1})
    fake_nvml.write(Scenario([needs_reset]))
    run_rounds(driver, 6, 70)
    assert tuple(each.line for each in driver.slots[0].health_findings(70.0)[1:]) == (
        "the driver recommends a recovery: reset the GPU",
    )
    fake_nvml.write(Scenario([Gpu(xids=[109, 154, 154], fields={RECOVERY_ACTION: 0})]))
    run_rounds(driver, 70, 135)
    assert health_reasons(driver, 135.0) == [[]] and not has_failed(driver.slots[0].xids, 135.0)


@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")
def test_the_same_error_in_programs_of_two_users_points_to_the_card(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    with process_of(1000) as first, process_of(1001) as second:
        fake_nvml.write(Scenario([Gpu(processes=[Process(first)])]))
        run_rounds(driver, 0, 6)
        fake_nvml.write(Scenario([Gpu(processes=[Process(first)], xids=[31])]))
        run_rounds(driver, 6, 12)
        fake_nvml.write(Scenario([Gpu(processes=[Process(second)], xids=[31])]))
        run_rounds(driver, 12, 40)
        assert health_reasons(driver, 40.0) == [[]]
        fake_nvml.write(Scenario([Gpu(processes=[Process(second)], xids=[31, 13])]))
        run_rounds(driver, 40, 46)
    assert health_reasons(driver, 46.0) == [["Xid 13"]]
    assert not has_failed(driver.slots[0].xids, 46.0)


def test_errors_outlive_a_reopening_of_nvml(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(xids=[48])]))
    run_rounds(driver, 6, 12)
    fake_nvml.write(Scenario([Gpu(xids=[48])], Machine(generation=2)))
    run_rounds(driver, 12, 20)
    fake_nvml.write(Scenario([Gpu(xids=[48, 74])], Machine(generation=2)))
    run_rounds(driver, 20, 30)
    assert health_reasons(driver, 30.0) == [["Xid 74", "Xid 48"]]
    driver.close()
    assert fake_nvml.event_sets() == 0


def test_the_event_set_of_a_gpu_whose_call_hangs_is_freed_once_it_returns(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    run_rounds(driver, 0, 2)
    hang = Call("nvmlDeviceGetUtilizationRates", hang=True, gpu=0)
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[hang]))
    reader = threading.Thread(target=lambda: driver.slots[0].refresh(3.0))
    reader.start()
    eventually(lambda: fake_nvml.hanging() == 1, "the hang")

    driver.open(4.0, is_calm=False)
    during = fake_nvml.event_sets()
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    reader.join(30.0)

    assert (during, fake_nvml.event_sets()) == (1, 0)


def test_an_error_is_received_beside_a_lost_gpu(fake_nvml: FakeNvml, driver: Driver) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(lost=True), Gpu()]))
    run_rounds(driver, 6, 12)
    fake_nvml.write(Scenario([Gpu(lost=True), Gpu(xids=[48])]))
    run_rounds(driver, 12, 20)
    assert health_reasons(driver, 20.0) == [["the driver"], ["Xid 48"]]


def test_a_loss_is_reported_with_its_time_until_the_gpu_answers(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    fake_nvml.write(Scenario([Gpu()]))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(lost=True)]))
    run_rounds(driver, 6, 30)
    (loss,) = driver.slots[0].health_findings(30.0)
    waits = fake_nvml.calls("nvmlEventSetWait_v2")
    run_rounds(driver, 30, 34)
    waits_after = fake_nvml.calls("nvmlEventSetWait_v2")
    fake_nvml.write(Scenario([Gpu()]))
    run_rounds(driver, 34, 60)

    assert loss.words.startswith("the driver lost the GPU at 20") and loss.kind == "gpu_lost"
    assert waits_after == waits
    assert health_reasons(driver, 60.0) == [[]]


def test_an_event_is_the_gpus_by_uuid_where_its_handle_is_another(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    machine = Machine(other_event_handles=True)
    fake_nvml.write(Scenario([Gpu(), Gpu()], machine))
    run_rounds(driver, 0, 6)
    fake_nvml.write(Scenario([Gpu(), Gpu(xids=[48])], machine))
    run_rounds(driver, 6, 12)
    assert health_reasons(driver, 12.0) == [[], ["Xid 48"]]


@pytest.mark.parametrize("uuid", ["GPU-9", error("UNKNOWN")])
def test_an_event_without_a_uuid_is_the_gpus_by_index(
    fake_nvml: FakeNvml, driver: Driver, uuid: str
) -> None:
    machine, gpu = Machine(other_event_handles=True), Gpu(uuid=uuid)
    fake_nvml.write(Scenario([Gpu(), gpu], machine))
    run_rounds(driver, 0, 6)
    calls = [Call("nvmlDeviceGetUUID", error="UNKNOWN")]
    fake_nvml.write(Scenario([Gpu(), replace(gpu, xids=[48])], machine, calls))
    run_rounds(driver, 6, 12)
    assert health_reasons(driver, 12.0) == [[], ["Xid 48"]]


@pytest.mark.parametrize(
    "name", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"]
)
@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "UNKNOWN", "GPU_IS_LOST", "UNINITIALIZED"])
def test_a_driver_without_events_is_read_all_the_same(
    fake_nvml: FakeNvml, driver: Driver, name: str, error: str
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[Call(name, error=error)]))
    readings = run_rounds(driver, 0, 20)
    assert [reading.state for reading in readings] == ["ok", "ok"]
    assert driver.finding is None and health_reasons(driver, 20.0) == [[], []]


def test_a_gpu_without_events_does_not_silence_the_others(
    fake_nvml: FakeNvml, driver: Driver
) -> None:
    silent = Call("nvmlDeviceRegisterEvents", error="NOT_SUPPORTED", gpu=0)
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=[silent]))
    run_rounds(driver, 0, 15)
    fake_nvml.write(Scenario([Gpu(xids=[48]), Gpu(xids=[48])], calls=[silent]))
    run_rounds(driver, 15, 25)
    assert health_reasons(driver, 25.0) == [[], ["Xid 48"]]
    assert fake_nvml.calls("nvmlDeviceRegisterEvents") == 2


def test_an_error_is_a_finding_about_its_gpu(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    watch = Watchdog(Driver(), patience=20.0, timeout=60.0, slow=10.0)
    seconds = iter(range(0, 100_000, 6))

    def found() -> tuple[str, ...]:
        now = moment()
        later = now._replace(monotonic=now.monotonic + next(seconds))
        return driver_lines(watch.collect(later))

    try:
        assert found() == found() == ()
        fake_nvml.write(Scenario([Gpu(), Gpu(xids=[119])]))
        (line,) = eventually(lambda: found() or None, "a finding")
    finally:
        watch.close()
    assert line.startswith("GPU 1: Xid 119 (the GPU's system processor (GSP) does not respond")
    assert fake_nvml.event_sets() == 0
