"""Snapshots built from readings and clocks."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from gpu_monitor.collector.activity import IdleTimes, low_power_since, stalled_since
from gpu_monitor.collector.clock import Moment, WallOffset
from gpu_monitor.collector.columns import (
    MAX_GPUS,
    GpuRow,
    ProcessRow,
    gpu_columns,
    largest_processes,
    process_columns,
)
from gpu_monitor.collector.findings import (
    Finding,
    FindingTimes,
    PlacedFinding,
    finding_columns,
    sorted_findings,
)
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading, Identity
from gpu_monitor.collector.gpu_findings import hot_at, reading_findings
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.host_findings import disk_findings, full_disks, held_memory, rows_cut
from gpu_monitor.collector.recent_work import RecentWork, activity, observe_work, work_gap
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.collector.wire_fit import fitted_scalars, fitted_table
from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    SYSTEM_FIELDS,
    VERSION,
    Scalars,
    Snapshot,
    Table,
)

TICKS_PER_SECOND = 100
"""The kernel counts start times in hundredths of a second on every platform (USER_HZ)."""


_NO_SCALARS: Scalars = {}
_NO_DISKS: Table = {"mount": [], "total_mib": [], "used_mib": []}
_NO_FACTS: dict[int, ProcessFacts] = {}


class Sources(NamedTuple):
    """Where a snapshot's values come from; each is called once per snapshot, times as in Moment.

    Each but the clock may raise anything, which costs its values in that snapshot.
    """

    clock: Callable[[], Moment]
    gpus: Callable[[Moment], DriverReading]
    facts: Callable[[Iterable[int], float], dict[int, ProcessFacts]]
    host: Callable[[float], tuple[Scalars, Table]]
    cost: Callable[[float, float], Scalars]


class Origin(NamedTuple):
    """The sender: the host's name, its boot, this run of the collector, its interval in seconds."""

    name: str
    boot_id: str
    run_id: str
    interval: float


class _Seen(NamedTuple):
    """A GPU in the last snapshot: its state, since when, since when it is busy at low power, when
    it was hot last, and its recent work; times in seconds of CLOCK_BOOTTIME."""

    state: str
    since: float
    low_power: float | None
    hot: float | None
    work: RecentWork | None


class SnapshotBuilder:
    """Builds one snapshot after the other; `idle` outlives it where it is kept in a file.

    `lasting` are findings that last for as long as the collector runs. `guard` is shared with the
    sources, which report through it what they could not read.
    """

    def __init__(
        self,
        origin: Origin,
        sources: Sources,
        idle: IdleTimes,
        lasting: tuple[Finding, ...] = (),
        guard: SourceGuard | None = None,
    ) -> None:
        self._guard = guard or SourceGuard()
        self._origin = origin
        self._sources = sources
        self._idle = idle
        self._work_gap = work_gap(origin.interval)
        self._lasting = lasting
        self._offset = WallOffset()
        self._seen: dict[str, _Seen] = {}
        self._keys: list[str] = []
        self._times = FindingTimes()
        self._full_disks: list[str] = []
        self._sequence = 0

    def build(self) -> Snapshot:
        """A snapshot of now."""
        sources = self._sources
        begun = sources.clock()
        self._offset.follow(begun)
        attempt = self._guard.attempt
        driver = attempt("GPU readings", lambda: sources.gpus(begun), DriverReading())
        system, disks = attempt(
            "the host", lambda: sources.host(begun.monotonic), (_NO_SCALARS, _NO_DISKS)
        )
        system = system | _versions(driver) | {"booted_at": self._offset.unix(0.0)}
        system = {key: system[key] for key in SYSTEM_FIELDS if key in system}
        gpus, every_gpu = self._gpu_rows(driver, begun.boottime)
        processes, every_process = self._process_rows(gpus, begun)
        self._full_disks = full_disks(disks, self._full_disks)
        seconds = sources.clock().monotonic - begun.monotonic
        cost = attempt(
            "the collector's cost", lambda: sources.cost(begun.monotonic, seconds), _NO_SCALARS
        )
        unread = self._guard.settle()
        own = [*self._lasting, *driver.findings, *disk_findings(self._full_disks), *unread]
        own += rows_cut(every_gpu, every_process)
        found = [PlacedFinding(None, finding) for finding in own]
        found += [*self._gpu_findings(gpus, begun.boottime), *held_memory(gpus, processes)]
        self._sequence += 1
        return Snapshot(
            version=VERSION,
            name=self._origin.name,
            boot_id=self._origin.boot_id,
            run_id=self._origin.run_id,
            sequence=self._sequence,
            interval_seconds=self._origin.interval,
            sampled_boottime=round(begun.boottime, 3),
            sampled_at=round(begun.wall, 3),
            system=fitted_scalars(system, SYSTEM_FIELDS),
            gpus=fitted_table(gpu_columns(gpus), "gpus"),
            processes=fitted_table(process_columns(processes), "processes"),
            disks=fitted_table(disks, "disks"),
            findings=fitted_table(self._findings(found, len(gpus), begun.boottime), "findings"),
            collector=fitted_scalars(cost, COLLECTOR_FIELDS),
        )

    def _findings(self, found: list[PlacedFinding], gpus: int, now: float) -> Table:
        shown = sorted_findings(found, gpus)
        times = self._times.update(shown, self._keys, now)
        return finding_columns(shown, times, self._offset.unix)

    def _gpu_findings(self, gpus: list[GpuRow], now: float) -> Iterator[PlacedFinding]:
        """Those of cards; a slice's are its card's."""
        for number, row in enumerate(gpus):
            if row.parent is None:
                seen = self._seen[self._keys[number]]
                stalled = stalled_since(seen.low_power, now)
                for finding in row.gpu.findings:
                    yield PlacedFinding(number, finding)
                for finding in reading_findings(row.gpu, seen.hot is not None, stalled):
                    yield PlacedFinding(number, finding)

    def _gpu_rows(self, driver: DriverReading, now: float) -> tuple[list[GpuRow], int]:
        """The rows that the wire carries, and how many there are."""
        rows: list[GpuRow] = []
        self._keys = []
        seen: dict[str, _Seen] = {}
        for gpu in driver.gpus:
            parent = len(rows)
            for reading, above in ((gpu, None), *((piece, parent) for piece in gpu.slices)):
                rows.append(self._gpu_row(reading, above, seen, now))
        self._seen = seen
        return rows[:MAX_GPUS], len(rows)

    def _gpu_row(
        self,
        gpu: GpuReading,
        parent: int | None,
        seen: dict[str, _Seen],
        now: float,
    ) -> GpuRow:
        key = _key(gpu.identity)
        if key in seen:  # two GPUs with one UUID
            key = f"{key} {gpu.identity.pci_bus_id} {len(seen)}"
        self._keys.append(key)
        before = self._seen.get(key)
        since = before.since if before is not None and before.state == gpu.state else now
        low = low_power_since(before and before.low_power, gpu, now)
        percent = gpu.utilization_percent
        idle = self._idle.since(key) if gpu.carried else self._idle.observe(key, percent, now)
        work = before and before.work
        if gpu.state == "ok" and not gpu.carried:
            work = observe_work(work, percent, idle, now, self._work_gap)
        hot = hot_at(before and before.hot, gpu, now)
        seen[key] = _Seen(gpu.state, since, low, hot, work)
        return GpuRow(
            gpu=gpu,
            parent=parent,
            activity=activity(work, now, self._work_gap) if gpu.state == "ok" else None,
            idle_since=self._offset.unix(idle),
            state_since=None if gpu.state == "ok" else self._offset.unix(since),
            stalled_since=self._offset.unix(stalled_since(low, now)),
        )

    def _process_rows(self, gpus: list[GpuRow], begun: Moment) -> tuple[list[ProcessRow], int]:
        """The rows that the wire carries, and how many there are."""
        pids = {use.pid for row in gpus for use in row.gpu.uses}
        facts = self._guard.attempt(
            "process facts", lambda: self._sources.facts(pids, begun.monotonic), _NO_FACTS
        )
        rows = list(self._rows_of(gpus, facts, begun.boottime))
        return largest_processes(rows), len(rows)

    def _rows_of(
        self, gpus: list[GpuRow], facts: dict[int, ProcessFacts], now: float
    ) -> Iterator[ProcessRow]:
        for number, row in enumerate(gpus):
            for use in sorted(row.gpu.uses, key=lambda use: use.pid):
                known = facts.get(use.pid) or ProcessFacts(use.pid)
                key = f"{self._keys[number]}/{use.pid}/{known.started_ticks}"
                idle = self._idle.observe(key, use.sm_utilization_percent, now)
                ticks = known.started_ticks
                started = None if ticks is None else ticks / TICKS_PER_SECOND
                yield ProcessRow(
                    gpu=number,
                    use=use,
                    facts=known,
                    started_at=self._offset.unix(started),
                    idle_since=self._offset.unix(idle),
                )


def _key(gpu: Identity) -> str:
    return gpu.uuid or f"{gpu.pci_bus_id}/{gpu.number}"


def _versions(driver: DriverReading) -> Scalars:
    known = {"driver_version": driver.driver_version, "cuda_version": driver.cuda_version}
    return {key: value for key, value in known.items() if value is not None}
