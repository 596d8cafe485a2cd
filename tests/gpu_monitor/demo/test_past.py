"""The hour before the start of a simulated fleet leads up to its first readings."""

from typing import Any

import pytest

from gpu_monitor.broker.history import MINUTES
from gpu_monitor.demo.fleet import build_fleet
from gpu_monitor.demo.host import SPECIAL_HOSTS
from gpu_monitor.demo.past import Past

NOW = 1_763_910_030.0
"""The middle of a minute."""
UNTIL = 1_763_910_060
GAPS = [None] * MINUTES
LATER = 60


def minute_of(at: float) -> int:
    """The index of a time in the hour up to NOW; negative if earlier."""
    return MINUTES - 1 - (UNTIL - 1 - int(at)) // 60


def first_answer(rows: int = 8, until: int = UNTIL) -> dict[str, Any]:
    """A broker's answer for a host that has just reported for the first time."""
    return {"until": until, "uuid": [], "utilization_percent": [GAPS] * rows}


def rows_of(past: Past, name: str, answer: dict[str, Any]) -> list[list[int | None]]:
    completed = past.fill_gaps(name, answer)
    assert completed is not None
    rows: list[list[int | None]] = completed["utilization_percent"]
    return rows


def test_an_idle_gpu_was_busy_until_it_became_idle() -> None:
    fleet = build_fleet(100, 8, NOW)
    past, fell_idle = Past(fleet, NOW), 0
    for host in fleet:
        for row, minutes in enumerate(
            rows_of(past, host.name, first_answer(len(host.gpus["index"])))
        ):
            since = host.gpus["idle_since"][row]
            if since is None or row not in host.recent_phases():
                continue
            idle = minute_of(since)
            assert not any(minutes[max(0, idle + 1) :])
            if idle >= 0:
                fell_idle += 1
                assert minutes[idle]
    assert fell_idle > 10


def test_a_working_gpu_has_been_busy_since_its_job_started() -> None:
    fleet = build_fleet(100, 8, NOW)
    past, started = Past(fleet, NOW), 0
    for host in fleet:
        rows = rows_of(past, host.name, first_answer(len(host.gpus["index"])))
        for row, (newest, *_) in host.recent_phases().items():
            if not newest.level:
                continue
            first = max(0, minute_of(newest.since))
            assert all(value is not None and value > newest.level for value in rows[row][first:-1])
            started += first > 0
    assert started > 10


@pytest.mark.parametrize("kind", ["lost", "asleep"])
def test_a_lost_or_sleeping_gpu_has_gaps(kind: str) -> None:
    past = Past(build_fleet(len(SPECIAL_HOSTS), 8, NOW), NOW)
    rows = rows_of(past, f"node{SPECIAL_HOSTS.index(kind) + 1:02d}", first_answer())
    assert rows[7] == GAPS and None not in rows[0]


def test_received_minutes_and_gaps_after_the_start_are_kept() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    answer = first_answer(1, UNTIL + 3 * LATER)
    answer["utilization_percent"] = [[*GAPS[:-3], 1, None, 3]]
    (row,) = rows_of(past, "node01", answer)
    assert row[-3:] == [1, None, 3] and None not in row[:-3]


def test_the_past_moves_out_of_view_within_an_hour() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    (before,) = rows_of(past, "node01", first_answer(1))
    (after,) = rows_of(past, "node01", first_answer(1, UNTIL + 10 * LATER))
    assert after == [*before[10:], *GAPS[:10]]
    assert rows_of(past, "node01", first_answer(1, UNTIL + MINUTES * LATER)) == [GAPS]


def test_there_is_no_past_if_the_clock_went_back() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    assert rows_of(past, "node01", first_answer(1, UNTIL - LATER)) == [GAPS]


def test_a_host_that_never_reported_has_no_past() -> None:
    assert Past(build_fleet(1, 1, NOW), NOW).fill_gaps("node-spare", None) is None


def test_the_totals_end_where_the_fleet_starts() -> None:
    fleet = build_fleet(200, 8, NOW)
    totals = Past(fleet, NOW).fill_gaps(
        "",
        {
            "until": UNTIL,
            "utilization_percent": GAPS,
            "memory_used_mib": GAPS,
            "power_watts": GAPS,
        },
    )
    assert totals is not None
    for key in ("utilization_percent", "memory_used_mib", "power_watts"):
        known = [
            host.gpus[key][row]
            for host in fleet
            for row, parent in enumerate(host.gpus["parent"])
            if parent is None and host.gpus[key][row] is not None
        ]
        now = sum(known) / (len(known) if key == "utilization_percent" else 1)
        assert len(totals[key]) == MINUTES
        assert totals[key][-1] == pytest.approx(now, rel=0.03)
