"""The hour before a simulated fleet's start, as its jobs tell it."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple, TypeAlias

from gpu_monitor.broker.history import MINUTE_SECONDS, MINUTES
from gpu_monitor.demo.host import JOB_SECONDS, LEVELS, START_CHANCE, SimulatedHost, Stretch

Minutes: TypeAlias = list[int]
"""A number for each minute of the hour, oldest first."""

ABOVE_LEVEL = (6, 14)
"""How far the highest reading of a minute goes beyond what the job aims at, in percent."""
IDLE_MIB = 2


class Past:
    """What no broker can have heard, for each of the 60 minutes up to `now` (unix seconds).

    It is worked out from the fleet as it is then: a GPU that is idle since some minute has
    worked until that minute, one whose job came in some minute had none right before it.
    """

    def __init__(self, fleet: Iterable[SimulatedHost], now: float) -> None:
        self._until = (int(now) // MINUTE_SECONDS + 1) * MINUTE_SECONDS
        self._hosts = {host.name: _look_back(host, self._until) for host in fleet}
        self._totals = _totals(self._hosts.values())

    def complete(self, name: str, heard: dict[str, Any] | None) -> dict[str, Any] | None:
        """What a broker has heard of a host's last hour, of the totals' for "", with the minutes
        before the start filled in; as it is where there is nothing, or the clock went back.
        """
        if heard is None or heard["until"] < self._until:
            return heard
        passed = (heard["until"] - self._until) // MINUTE_SECONDS
        if not name:
            totals = self._totals.items()
            return heard | {key: _fill(heard[key], past, passed) for key, past in totals}
        peaks = self._peaks(name)
        rows = enumerate(heard["utilization_percent"])
        filled = [_fill(values, peaks.get(row, []), passed) for row, values in rows]
        return heard | {"utilization_percent": filled}

    def _peaks(self, name: str) -> dict[int, Minutes]:
        """By row, the highest reading of each minute: the same whenever it is asked for."""
        random = Random(f"peaks of {name}")
        return {
            row: [min(100, level + random.randint(*ABOVE_LEVEL)) if level else 0 for level in own]
            for row, own in self._hosts[name].levels.items()
        }


class _HostPast(NamedTuple):
    """`levels` by row, for GPUs that can work; the memory and power of all GPUs together."""

    levels: dict[int, Minutes]
    memory_mib: Minutes
    power_watts: Minutes


def _look_back(host: SimulatedHost, until: int) -> _HostPast:
    random = Random(f"past of {host.name}")
    gpus, lately = host.gpus, host.lately()
    others = [row for row, of in enumerate(gpus["parent"]) if of is None and row not in lately]
    used_mib = [[sum(gpus["memory_used_mib"][row] or 0 for row in others)] * MINUTES]
    power_watts = [sum(gpus["power_watts"][row] or 0 for row in others)] * MINUTES
    levels = {}
    for row, newest in lately.items():
        stretches = _backwards(random, newest, gpus["memory_total_mib"][row])
        levels[row], memory_mib = _minutes(stretches, until)
        used_mib.append(memory_mib)
    if levels:
        work = _sum(levels.values())
        powers = (len(levels) * host.model.power_at(each / len(levels)) for each in work)
        power_watts = [int(one + other) for one, other in zip(power_watts, powers, strict=True)]
    return _HostPast(levels, _sum(used_mib), power_watts)


def _backwards(random: Random, newest: list[Stretch], total_mib: int) -> Iterator[Stretch]:
    """What a GPU does, newest first and without end: before what it does now, jobs and pauses by
    turns, as the simulation goes on with them.
    """
    yield from newest
    since, works = newest[-1].since, newest[-1].level > 0
    while True:
        works = not works
        if works:
            since -= round(random.expovariate(1 / JOB_SECONDS)) + 10
            memory_mib = int(total_mib * random.uniform(0.15, 0.96))
            yield Stretch(since, random.choice(LEVELS), memory_mib)
        else:
            since -= round(random.expovariate(START_CHANCE)) + 1
            yield Stretch(since, 0, IDLE_MIB)


def _minutes(stretches: Iterable[Stretch], until: int) -> tuple[Minutes, Minutes]:
    """The highest level of each minute and its highest memory, in MiB."""
    levels, memory_mib = [0] * MINUTES, [0] * MINUTES
    last = MINUTES - 1
    for stretch in stretches:
        began = MINUTES - 1 - (until - 1 - stretch.since) // MINUTE_SECONDS
        first = max(0, began)
        for column, value in ((levels, stretch.level), (memory_mib, stretch.memory)):
            column[first:last] = [value] * (last - first)
            column[last] = max(column[last], value)
        if began < 0:
            break
        last = first
    return levels, memory_mib


def _totals(hosts: Iterable[_HostPast]) -> dict[str, Minutes]:
    """As the broker would have noted them, without those that no GPU told."""
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


def _fill(heard: list[int | None], past: Minutes, passed: int) -> list[int | None]:
    """`past`, which was complete `passed` minutes ago, where nothing was heard."""
    known = [*past[passed:], *[None] * (MINUTES - len(past[passed:]))]
    return [then if now is None else now for now, then in zip(heard, known, strict=True)]
