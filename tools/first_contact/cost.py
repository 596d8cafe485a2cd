"""What the collector costs: its processor time, and what the load loses."""

import time
from statistics import median

from .collector import running_collector
from .load import Load, start_load_if_possible
from .options import Options
from .record import Recorder

SECONDS = 5.0
LOAD_MIB = 1024
MOST_PERCENT = 5.0
"""Of one core."""
LEAST_RATE = 0.95
"""Of the load's rounds without a collector; clocks and neighbours move it by some percent."""


def measure_cost(record: Recorder, options: Options) -> None:
    """The load's speed without and with the collector, and the collector's own time."""
    seconds = options.seconds(SECONDS)
    with start_load_if_possible(record, options, "heavy", LOAD_MIB) as load:
        alone = None if load is None else _rate(load, seconds)
        with running_collector(record) as collector:
            begun, before = time.monotonic(), collector.cpu_seconds()
            if load is not None:
                load.rounds()
            snapshots = collector.snapshots(seconds)
            beside = None if load is None else _rate(load, 0)
            passed = time.monotonic() - begun
            percent = 100 * (collector.cpu_seconds() - before) / passed
    samples = [snapshot["collector"]["sample_seconds"] for snapshot in snapshots]
    record.note("sample_seconds", {"median": median(samples), "longest": max(samples)})
    record.note("collector", snapshots[-1]["collector"])
    good = percent <= MOST_PERCENT
    record.check("collector's share of a core (%)", good, round(percent, 2), f"<= {MOST_PERCENT}")
    if alone and beside:
        ratio = beside / alone
        record.note("rounds_per_second", {"alone": alone, "beside": beside})
        what = "the load's speed beside the collector"
        record.check(what, ratio >= LEAST_RATE, round(ratio, 3), f">= {LEAST_RATE}")


def _rate(load: Load, seconds: float) -> float | None:
    """Rounds per second over this time, or since the last call; None if there were too few."""
    if seconds:
        load.rounds()
        time.sleep(max(seconds, 2.0))
    counts = load.rounds()
    if len(counts) < 2:
        return None
    passed = counts[-1]["at"] - counts[0]["at"]
    return float((counts[-1]["rounds"] - counts[0]["rounds"]) / passed)
