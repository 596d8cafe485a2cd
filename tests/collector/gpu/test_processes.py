"""Process lists joined by pid, and each process's share of the GPU's time."""

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


def test_the_newest_sample_of_a_share_counts_for_two_seconds() -> None:
    shares = SmShares()
    shares.ingest([], 0.0)
    shares.ingest([(7, 2000, 60), (7, 1000, 20), (8, 2000, 101)], 1.0)
    now = shares.percent(7)
    shares.ingest([], 1.0 + SM_SAMPLE_SECONDS)
    still = shares.percent(7)
    shares.ingest([], 1.5 + SM_SAMPLE_SECONDS)

    assert (now, still, shares.percent(7), shares.percent(8)) == (60, 60, 0, 0)
