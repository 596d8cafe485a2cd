"""The hour before a simulated fleet's start: it agrees with what the fleet shows at its start."""

from typing import Any

import pytest

from gpu_monitor.broker.history import MINUTES
from gpu_monitor.demo.fleet import build_fleet
from gpu_monitor.demo.host import ODD_HOSTS
from gpu_monitor.demo.past import Past

NOW = 1_763_910_030.0
"""The middle of a minute."""
UNTIL = 1_763_910_060
GAPS = [None] * MINUTES
LATER = 60


def minute_of(at: float) -> int:
    """The place of that time in the hour up to NOW; negative before it."""
    return MINUTES - 1 - (UNTIL - 1 - int(at)) // 60


def heard(rows: int = 8, until: int = UNTIL) -> dict[str, Any]:
    """A broker's answer for a host that it has just heard of."""
    return {"until": until, "uuid": [], "utilization_percent": [GAPS] * rows}


def rows_of(past: Past, name: str, answer: dict[str, Any]) -> list[list[int | None]]:
    completed = past.complete(name, answer)
    assert completed is not None
    rows: list[list[int | None]] = completed["utilization_percent"]
    return rows


def test_a_gpu_without_work_had_none_since_it_says_so_and_some_until_then() -> None:
    fleet = build_fleet(100, 8, NOW)
    past, fell_idle = Past(fleet, NOW), 0
    for host in fleet:
        for row, minutes in enumerate(rows_of(past, host.name, heard(len(host.gpus["index"])))):
            since = host.gpus["idle_since"][row]
            if since is None or row not in host.lately():
                continue
            idle = minute_of(since)
            assert not any(minutes[max(0, idle + 1) :])
            if idle >= 0:
                fell_idle += 1
                assert minutes[idle]
    assert fell_idle > 10


def test_a_job_has_worked_since_its_start_and_not_right_before_it() -> None:
    fleet = build_fleet(100, 8, NOW)
    past, started = Past(fleet, NOW), 0
    for host in fleet:
        rows = rows_of(past, host.name, heard(len(host.gpus["index"])))
        for row, (newest, *_) in host.lately().items():
            if not newest.level:
                continue
            first = max(0, minute_of(newest.since))
            assert all(value is not None and value > newest.level for value in rows[row][first:-1])
            started += first > 0
    assert started > 10


@pytest.mark.parametrize("kind", ["lost", "asleep"])
def test_a_gpu_that_was_gone_has_gaps(kind: str) -> None:
    past = Past(build_fleet(len(ODD_HOSTS), 8, NOW), NOW)
    rows = rows_of(past, f"node{ODD_HOSTS.index(kind) + 1:02d}", heard())
    assert rows[7] == GAPS and None not in rows[0]


def test_what_was_heard_stays_and_a_gap_after_the_start_is_none_of_the_past_s() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    answer = heard(1, UNTIL + 3 * LATER)
    answer["utilization_percent"] = [[*GAPS[:-3], 1, None, 3]]
    (row,) = rows_of(past, "node01", answer)
    assert row[-3:] == [1, None, 3] and None not in row[:-3]


def test_the_past_moves_on_with_time_and_is_gone_after_an_hour() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    (before,) = rows_of(past, "node01", heard(1))
    (after,) = rows_of(past, "node01", heard(1, UNTIL + 10 * LATER))
    assert after == [*before[10:], *GAPS[:10]]
    assert rows_of(past, "node01", heard(1, UNTIL + MINUTES * LATER)) == [GAPS]


def test_after_a_clock_that_went_back_there_is_no_past() -> None:
    past = Past(build_fleet(1, 1, NOW), NOW)
    assert rows_of(past, "node01", heard(1, UNTIL - LATER)) == [GAPS]


def test_of_a_host_that_was_never_heard_nothing_is_told() -> None:
    assert Past(build_fleet(1, 1, NOW), NOW).complete("node-spare", None) is None


def test_the_totals_come_out_where_the_fleet_starts() -> None:
    fleet = build_fleet(200, 8, NOW)
    totals = Past(fleet, NOW).complete(
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
        told = [
            host.gpus[key][row]
            for host in fleet
            for row, parent in enumerate(host.gpus["parent"])
            if parent is None and host.gpus[key][row] is not None
        ]
        now = sum(told) / (len(told) if key == "utilization_percent" else 1)
        assert len(totals[key]) == MINUTES
        assert totals[key][-1] == pytest.approx(now, rel=0.03)
