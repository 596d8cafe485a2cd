"""The hour before the start of a simulated fleet, derived from its jobs."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple, TypeAlias

from gpu_monitor.broker.history import MINUTE_SECONDS, MINUTES
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.demo.jobs import JOB_LEVELS, JOB_SECONDS, START_CHANCE, Phase

Minutes: TypeAlias = list[int]
"""A number for each minute of the hour, oldest first."""

ABOVE_LEVEL = (6, 14)
"""By how much the peak of a minute exceeds the level of its job, in percent."""
IDLE_MIB = 2


class Past:
    """A last hour for the broker of a demo, which has just started (`now`, unix seconds).

    It leads up to the current state of the fleet: a GPU that is idle since some minute worked
    until then, and one whose job started in some minute was free before it.
    """

    def __init__(self, fleet: Iterable[SimulatedHost], now: float) -> None:
        self._until = (int(now) // MINUTE_SECONDS + 1) * MINUTE_SECONDS
        self._hosts = {host.name: _host_past(host, self._until) for host in fleet}
        self._totals = _totals(self._hosts.values())

    def fill_gaps(self, name: str, recorded: dict[str, Any] | None) -> dict[str, Any] | None:
        """Fill the minutes before the start in a host's last hour ("": that of the totals).

        Returns `recorded` unchanged if it is None, or if the clock went back.
        """
        if recorded is None or recorded["until"] < self._until:
            return recorded
        passed = (recorded["until"] - self._until) // MINUTE_SECONDS
        if not name:
            totals = self._totals.items()
            return recorded | {key: _fill(recorded[key], past, passed) for key, past in totals}
        peaks = self._peaks(name)
        rows = enumerate(recorded["utilization_percent"])
        filled = [_fill(values, peaks.get(row, []), passed) for row, values in rows]
        return recorded | {"utilization_percent": filled}

    def _peaks(self, name: str) -> dict[int, Minutes]:
        """By row, the peak of each minute; the same on every call."""
        random = Random(f"peaks of {name}")
        return {
            row: [min(100, level + random.randint(*ABOVE_LEVEL)) if level else 0 for level in own]
            for row, own in self._hosts[name].levels.items()
        }


class _HostPast(NamedTuple):
    """Levels by row, for usable GPUs; memory and power summed over all GPUs."""

    levels: dict[int, Minutes]
    memory_mib: Minutes
    power_watts: Minutes


def _host_past(host: SimulatedHost, until: int) -> _HostPast:
    random = Random(f"past of {host.name}")
    gpus, phases_of = host.gpus, host.recent_phases()
    others = [row for row, of in enumerate(gpus["parent"]) if of is None and row not in phases_of]
    used_mib = [[sum(gpus["memory_used_mib"][row] or 0 for row in others)] * MINUTES]
    power_watts = [sum(gpus["power_watts"][row] or 0 for row in others)] * MINUTES
    levels = {}
    for row, newest in phases_of.items():
        phases = _backwards(random, newest, gpus["memory_total_mib"][row])
        levels[row], memory_mib = _minutes(phases, until)
        used_mib.append(memory_mib)
    if levels:
        work = _sum(levels.values())
        powers = (len(levels) * host.model.power_at(each / len(levels)) for each in work)
        power_watts = [int(one + other) for one, other in zip(power_watts, powers, strict=True)]
    return _HostPast(levels, _sum(used_mib), power_watts)


def _backwards(random: Random, newest: list[Phase], total_mib: int) -> Iterator[Phase]:
    """The phases of a GPU back in time, without end: before `newest`, jobs and pauses alternate."""
    yield from newest
    since, works = newest[-1].since, newest[-1].level > 0
    while True:
        works = not works
        if works:
            since -= round(random.expovariate(1 / JOB_SECONDS)) + 10
            memory_mib = int(total_mib * random.uniform(0.15, 0.96))
            yield Phase(since, random.choice(JOB_LEVELS), memory_mib)
        else:
            since -= round(random.expovariate(START_CHANCE)) + 1
            yield Phase(since, 0, IDLE_MIB)


def _minutes(phases: Iterable[Phase], until: int) -> tuple[Minutes, Minutes]:
    """The highest level and memory (MiB) of each minute."""
    levels, memory_mib = [0] * MINUTES, [0] * MINUTES
    last = MINUTES - 1
    for phase in phases:
        began = MINUTES - 1 - (until - 1 - phase.since) // MINUTE_SECONDS
        first = max(0, began)
        for column, value in ((levels, phase.level), (memory_mib, phase.memory)):
            column[first:last] = [value] * (last - first)
            column[last] = max(column[last], value)
        if began < 0:
            break
        last = first
    return levels, memory_mib


def _totals(hosts: Iterable[_HostPast]) -> dict[str, Minutes]:
    """The totals as a broker would have recorded them; without levels, no utilization."""
    pasts = list(hosts)
    levels = [own for past in pasts for own in past.levels.values()]
    totals = {
        "memory_used_mib": _sum([past.memory_mib for past in pasts]),
        "power_watts": _sum([past.power_watts for past in pasts]),
    }
    if levels:
        totals["utilization_percent"] = [round(work / len(levels)) for work in _sum(levels)]
    return totals


def _sum(rows: Iterable[Minutes]) -> Minutes:
    return list(map(sum, zip(*rows, strict=True)))


def _fill(recorded: list[int | None], past: Minutes, passed: int) -> list[int | None]:
    """Fill gaps in `recorded` from `past`, which ended `passed` minutes ago."""
    known = [*past[passed:], *[None] * (MINUTES - len(past[passed:]))]
    return [then if now is None else now for now, then in zip(recorded, known, strict=True)]
