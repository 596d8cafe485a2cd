"""Process lists joined by pid, and each process's share of the GPU's time."""

from collections.abc import Callable
from typing import Any

import pytest

from gpu_monitor.collector.gpu.processes import (
    SM_SAMPLE_SECONDS,
    ListedProcess,
    SmShares,
    merge_by_pid,
)
from gpu_monitor.collector.gpu.readings import Use


def test_the_entries_of_one_process_become_one_use() -> None:
    entries = [
        ListedProcess(7, "C", None, None),
        ListedProcess(7, "G", 20, None),
        ListedProcess(7, "C", 10, None),
        ListedProcess(8, "G", None, None),
    ]

    assert merge_by_pid(entries) == (Use(7, "C+G", 20), Use(8, "G", None))


def test_shares_are_unknown_until_the_second_answer() -> None:
    shares = SmShares()
    shares.ingest([(7, 1000, 90), (7, 500, 10)], 0.0)
    first = shares.percent(7)
    shares.ingest([], 1.0)

    assert (first, shares.percent(7), shares.since) == (None, 0, 1000)


def test_the_newest_sample_of_a_process_is_valid_for_two_seconds() -> None:
    shares = SmShares()
    shares.ingest([], 0.0)
    shares.ingest([(7, 2000, 60), (7, 1000, 20)], 1.0)
    now = shares.percent(7)
    shares.ingest([], 1.0 + SM_SAMPLE_SECONDS)
    still = shares.percent(7)
    shares.ingest([], 1.5 + SM_SAMPLE_SECONDS)

    assert (now, still, shares.percent(7)) == (60, 60, 0)


@pytest.mark.parametrize("percent", [101, 2_147_483_632, 2**32 - 1])
def test_an_impossible_share_is_null(percent: int) -> None:
    shares = SmShares()
    shares.ingest([], 0.0)
    shares.ingest([(7, 1000, percent), (8, 1000, 30)], 1.0)

    assert (shares.percent(7), shares.percent(8)) == (None, 30)


class Driver:
    """Keeps every sample of pid 7, and answers with those after a time, as NVML does."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, int, int]] = []

    def followed(self, seconds: range, clock: Callable[[int], int], shares: SmShares) -> list[Any]:
        """pid 7's share in each of these seconds, in which it is sampled by this clock."""
        shown = []
        for second in seconds:
            self.samples.append((7, clock(second), 50))
            answer = [sample for sample in self.samples if sample[1] > shares.since]
            shares.ingest(answer, float(second), is_working=True)
            shown.append(shares.percent(7))
        return shown


HOUR = 3600 * 10**6


def true_time(second: int) -> int:
    return 2 * HOUR + second * 10**6


def test_a_clock_that_goes_back_costs_the_shares_of_a_few_seconds() -> None:
    driver, shares = Driver(), SmShares()
    before = driver.followed(range(10), true_time, shares)
    after = driver.followed(range(10, 30), lambda second: true_time(second) - HOUR, shares)

    assert before == [None, *[50] * 9]
    assert after == [50, 50, *[None] * 2, *[50] * 16]


def test_a_sample_from_the_future_costs_the_shares_of_a_few_seconds() -> None:
    driver, shares = Driver(), SmShares()
    driver.samples.append((8, true_time(0) + HOUR, 10))
    shown = driver.followed(range(30), true_time, shares)

    assert shown == [None, 0, 0, *[None] * 2, *[50] * 25]
    driver.samples = driver.samples[-5:]  # the driver has dropped it by now
    assert driver.followed(range(30, 40), true_time, shares) == [50] * 10
    assert shares.since == true_time(39)


def test_the_shares_of_an_idle_gpu_are_zero() -> None:
    shares = SmShares()
    for second in range(20):
        shares.ingest([], float(second), is_working=False)

    assert shares.percent(7) == 0


def test_the_shares_of_a_busy_gpu_without_samples_are_null() -> None:
    shares = SmShares()
    for second in range(20):
        shares.ingest([], float(second), is_working=True)

    assert shares.percent(7) is None


def test_processes_with_a_hidden_pid_are_not_joined() -> None:
    entries = [ListedProcess(0, "C", 10, None), ListedProcess(0, "C", 20, None)]

    assert merge_by_pid(entries) == (Use(0, "C", 10), Use(0, "C", 20))
    shares = SmShares()
    shares.ingest([], 0.0)
    shares.ingest([(0, 1000, 40)], 1.0)
    assert shares.percent(0) is None  # it could be either


def test_memory_beyond_the_cards_total_is_null() -> None:
    entries = [ListedProcess(7, "C", 101, None), ListedProcess(8, "C", 100, None)]

    assert merge_by_pid(entries, 100) == (Use(7, "C", None), Use(8, "C", 100))
    assert merge_by_pid([ListedProcess(7, "C", 2**64 - 2, None)]) == (Use(7, "C", None),)
