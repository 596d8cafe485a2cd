"""A source that fails costs its own reading, and is a problem once it keeps failing."""

import logging
from collections.abc import Callable

import pytest

from gpu_monitor.collector.source_guard import FAILURES_TO_REPORT, SourceGuard, failure_text


def failing(error: Exception) -> Callable[[], int]:
    def read() -> int:
        raise error

    return read


@pytest.mark.parametrize(
    "error", [AttributeError("pidfd_open"), OSError(24, "Too many open files"), RecursionError()]
)
def test_any_exception_is_replaced_by_the_default(error: Exception) -> None:
    assert SourceGuard().attempt("disks", failing(error), 7) == 7


def test_an_interrupt_is_not_caught() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SourceGuard().attempt("disks", interrupted, 7)


def test_a_source_is_a_finding_after_three_failed_snapshots_until_it_succeeds() -> None:
    guard = SourceGuard()
    reported = []
    for _ in range(FAILURES_TO_REPORT):
        guard.attempt("disks", failing(ValueError("no")), 0)
        reported.append([finding.words for finding in guard.settle()])
    guard.attempt("disks", lambda: 1, 0)

    assert reported == [[], [], ["disks cannot be read: ValueError: no"]]
    assert guard.settle() == []


def test_many_failures_within_one_snapshot_count_once() -> None:
    guard = SourceGuard()
    for _ in range(10):
        guard.attempt("process facts", failing(ValueError()), 0)

    assert guard.settle() == []


def test_a_source_that_is_read_less_often_keeps_its_count() -> None:
    guard = SourceGuard()
    reported: list[str] = []
    between: list[str] = []
    for _ in range(FAILURES_TO_REPORT):
        guard.attempt("swap", failing(OSError(2, "No such file", "/proc/swaps")), 0)
        reported = [finding.words for finding in guard.settle()]
        between = [finding.words for finding in guard.settle()]

    assert reported == between == ["swap cannot be read: No such file: /proc/swaps"]


def test_a_failure_is_logged_once_for_each_source_and_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    guard = SourceGuard()
    for number in range(5):
        guard.attempt("disks", failing(OSError(5, f"bad {number}")), 0)
        guard.attempt("disks", failing(ValueError(number)), 0)
        guard.attempt("swap", failing(ValueError(number)), 0)

    assert caplog.messages == ["disks: not read", "disks: not read", "swap: not read"]
    assert all(record.exc_info for record in caplog.records)


def test_a_failure_without_a_message_is_named_by_its_type() -> None:
    assert failure_text(RecursionError()) == "RecursionError"
    assert failure_text(OSError(24, "Too many open files")) == "Too many open files"
