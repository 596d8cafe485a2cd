"""Simulated hosts: valid snapshots, lively readings, reproducible by seed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.demo.host import SILENT_AFTER_SECONDS, SPECIAL_HOSTS, SimulatedHost
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import (
    FINDING_COLUMNS,
    FINDING_KINDS,
    GPU_COLUMNS,
    HEALTH_KINDS,
    PROCESS_COLUMNS,
    SEVERITIES,
    SYSTEM_FIELDS,
    Snapshot,
)
from tests.support.snapshots import read_snapshot

NOW = 1_763_910_000.0


def received(host: SimulatedHost, now: float) -> Snapshot:
    """The next snapshot of the host, as a broker receives it."""
    return read_snapshot(pack(host.snapshot(now, now - NOW + 100, 1.0)))


def after(seconds: int, number: int = 0, gpus: int = 8) -> Snapshot:
    host = SimulatedHost(number, gpus, NOW)
    for second in range(seconds):
        host.step(NOW + second)
    return received(host, NOW + seconds)


def special(kind: str) -> Snapshot:
    return after(3, SPECIAL_HOSTS.index(kind))


@pytest.mark.parametrize("number", range(len(SPECIAL_HOSTS)))
def test_times_are_whole_seconds_as_the_collector_sends_them(number: int) -> None:
    snapshot = after(40, number)
    gpus, processes = snapshot["gpus"], snapshot["processes"]
    times = gpus["idle_since"] + gpus["state_since"] + processes["idle_since"]
    assert {type(at) for at in times + processes["started_at"]} <= {int, type(None)}


@given(st.integers(0, 1249), st.integers(1, 16), st.integers(0, 60))
def test_every_snapshot_is_valid(number: int, gpus: int, seconds: int) -> None:
    snapshot = after(seconds, number, gpus)
    assert snapshot["gpus"].keys() == GPU_COLUMNS.keys()
    assert snapshot["processes"].keys() == PROCESS_COLUMNS.keys()
    assert snapshot["system"].keys() == SYSTEM_FIELDS.keys()
    assert snapshot["findings"].keys() == FINDING_COLUMNS.keys()


def test_the_same_seed_gives_the_same_readings() -> None:
    assert after(30, 5) == after(30, 5)
    assert after(30, 5)["gpus"]["uuid"] != after(30, 6)["gpus"]["uuid"]


def test_most_gpus_change_a_few_readings_each_second() -> None:
    changed, rows = 0, 0
    for number in range(20):
        host = SimulatedHost(number, 8, NOW)
        before = received(host, NOW)["gpus"]
        host.step(NOW)
        gpus = received(host, NOW + 1)["gpus"]
        for row in range(8):
            rows += 1
            changed += any(gpus[column][row] != before[column][row] for column in gpus)
    assert 0.5 < changed / rows < 0.9


def test_energy_counts_what_a_gpu_draws() -> None:
    before, after_a_minute = after(1)["gpus"], after(61)["gpus"]
    used = [
        late - early
        for early, late in zip(
            before["energy_joules"], after_a_minute["energy_joules"], strict=True
        )
    ]
    limits = before["power_limit_watts"]
    assert all(60 * 10 < joules <= 60 * limit for joules, limit in zip(used, limits, strict=True))


def test_jobs_come_and_go() -> None:
    host = SimulatedHost(12, 8, NOW)
    seen = set()
    for second in range(3600):
        host.step(NOW + second)
        if second % 60 == 0:
            seen.add(tuple(received(host, NOW + second)["processes"]["pid"]))
    assert len(seen) > 10


@pytest.mark.parametrize("state", ["lost", "asleep"])
def test_a_lost_or_sleeping_gpu_keeps_its_row_without_readings(state: str) -> None:
    gpus = special(state)["gpus"]
    assert gpus["state"] == ["ok"] * 7 + [state]
    assert gpus["reason"][7] and gpus["uuid"][7]
    assert gpus["utilization_percent"][7] is gpus["memory_used_mib"][7] is None
    assert (gpus["memory_total_mib"][7] is None) == (state == "lost")


def test_slices_follow_the_gpus_and_name_their_parent() -> None:
    gpus = special("mig")["gpus"]
    assert gpus["parent"] == [None] * 8 + [0] * 4
    assert gpus["utilization_percent"][0] is None
    assert gpus["memory_used_mib"][0] == sum(gpus["memory_used_mib"][8:])
    assert gpus["index"][8:] == [0, 1, 2, 3]  # within the GPU


def test_a_held_host_has_been_idle_for_hours_on_all_gpus() -> None:
    snapshot = special("held")
    held = snapshot["gpus"]["idle_since"]
    assert all(NOW - since > 3600 for since in held)
    assert len(snapshot["processes"]["pid"]) == 8
    assert snapshot["gpus"]["utilization_percent"] == [0] * 8


def test_the_other_special_hosts_show_their_fault() -> None:
    hot = special("hot")["gpus"]
    assert hot["throttle"][0] == ["software thermal slowdown"]
    assert hot["temperature_celsius"][0] >= hot["slowdown_celsius"][0] - 2
    assert special("free")["processes"]["pid"] == []
    assert findings_of(special("hot")) == [("gpu_hot", 0)]
    problems = special("problems")
    lasting = {("disk_full", None), ("row_remap", 0), ("processes_unread", 1), ("pcie_narrow", 2)}
    found = set(findings_of(problems))
    assert lasting < found and {kind for kind, _ in found - lasting} == {"gpu_stalled"}
    assert problems["gpus"]["pcie_width"][:3] == [16, 16, 8]
    assert problems["disks"]["used_mib"][1] / problems["disks"]["total_mib"][1] > 0.95
    assert 1 not in problems["processes"]["gpu"] and 2 in problems["processes"]["gpu"]


def findings_of(snapshot: Snapshot) -> list[tuple[str, int | None]]:
    """Kind and GPU of each finding."""
    return list(zip(snapshot["findings"]["kind"], snapshot["findings"]["gpu"], strict=True))


def test_a_lost_gpu_has_failed_and_its_findings_say_why() -> None:
    snapshot = special("lost")
    assert findings_of(snapshot) == [("gpu_lost", 7)]
    assert snapshot["findings"]["severity"] == ["critical"]
    assert snapshot["findings"]["since"][0] == snapshot["gpus"]["state_since"][7]
    assert snapshot["gpus"]["health"][7] == "failed"


@pytest.mark.parametrize("number", range(0, 500, 7))
def test_states_and_health_follow_from_the_findings(number: int) -> None:
    gpus, findings = (snapshot := after(1, number))["gpus"], snapshot["findings"]
    rows = list(zip(*(findings[column] for column in FINDING_COLUMNS), strict=True))
    severities = [SEVERITIES.index(severity) for _, severity, *_ in rows]
    assert severities == sorted(severities)
    for row, state in enumerate(gpus["state"]):
        own = [each for each in rows if each[2] == row]
        ill = [each for each in own if each[0] in HEALTH_KINDS]
        assert [words for *_, words, _ in ill] == (gpus["health_reasons"][row] or [])
        health = "failed" if "critical" in [each[1] for each in ill] else "degraded"
        assert gpus["health"][row] in ((health,) if ill else ("ok", None))
        assert ("gpu_lost" in [each[0] for each in own]) == (state == "lost")
        stalled = [since for kind, _, _, since, *_ in own if kind == "gpu_stalled"]
        assert stalled == [gpus["stalled_since"][row]] * len(stalled)
        assert bool(stalled) == (gpus["stalled_since"][row] is not None)


def test_few_gpus_are_unhealthy() -> None:
    kinds = [
        kind
        for number in range(500)
        for kind in received(SimulatedHost(number, 8, NOW), NOW)["findings"]["kind"]
    ]
    assert sum(kind in HEALTH_KINDS for kind in kinds) == 11
    assert set(kinds) <= FINDING_KINDS


def test_few_gpus_are_stalled() -> None:
    stalled = [0, 0]
    for number in range(500):
        host = SimulatedHost(number, 8, NOW)
        host.step(NOW + 1)
        gpus = received(host, NOW + 1)["gpus"]
        for row, since in enumerate(gpus["stalled_since"]):
            if since is not None:
                assert gpus["utilization_percent"][row] == 100
                assert gpus["power_watts"][row] < 0.4 * gpus["power_limit_watts"][row]
                stalled[number >= len(SPECIAL_HOSTS)] += 1
    assert stalled[0] >= 1 and 5 <= stalled[1] <= 30


def test_a_host_falls_silent_after_a_while() -> None:
    silent = SimulatedHost(SPECIAL_HOSTS.index("silent"), 8, NOW)
    assert not silent.is_silent(NOW + SILENT_AFTER_SECONDS)
    assert silent.is_silent(NOW + SILENT_AFTER_SECONDS + 1)
    assert not SimulatedHost(0, 8, NOW).is_silent(NOW + 3600)


def test_used_memory_never_exceeds_total_memory() -> None:
    for number in range(20):
        gpus: dict[str, list[Any]] = after(60, number)["gpus"]
        pairs = zip(gpus["memory_used_mib"], gpus["memory_total_mib"], strict=True)
        assert all(used is None or 0 <= used <= total for used, total in pairs)
