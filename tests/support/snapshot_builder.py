"""Snapshots built from readings that a test makes up, on a clock that it sets."""

from collections.abc import Callable

from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading, Identity
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.snapshot import Origin, SnapshotBuilder, Sources
from gpu_monitor.wire.document import Scalars, Table

BOOTED_AT = 1_763_900_000
ORIGIN = Origin("node1", "boot", "run", 1.0)
DISKS: Table = {"mount": ["/"], "total_mib": [100], "used_mib": [40]}


class ManualClock:
    """Seconds since boot, set by hand; the wall clock follows."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> Moment:
        return Moment(self.now, self.now, BOOTED_AT + self.now)


def known_facts(pids: object, now: float) -> dict[int, ProcessFacts]:
    return {
        4242: ProcessFacts(4242, 50_000, 1000, "alice", "python train.py", "3f4e3f4e3f4e", None),
        4243: ProcessFacts(4243, 60_050, 1001, "bob", "python serve.py", None, "4711"),
        4244: ProcessFacts(4244, state="ended"),
    }


def host(now: float) -> tuple[Scalars, Table]:
    return {"hostname": "node1", "cpu_percent": 12}, DISKS


def cost(now: float, seconds: float) -> Scalars:
    return {"version": "0.0.0", "memory_mib": 25, "sample_seconds": round(seconds, 4)}


def builder(
    clock: ManualClock, gpus: Callable[[Moment], DriverReading], idle: IdleTimes | None = None
) -> SnapshotBuilder:
    return SnapshotBuilder(
        ORIGIN, Sources(clock, gpus, known_facts, host, cost), idle or IdleTimes()
    )


def showing(
    *gpus: GpuReading, findings: tuple[Finding, ...] = ()
) -> Callable[[Moment], DriverReading]:
    return lambda now: DriverReading(gpus=gpus, findings=findings)


def ok(index: int = 0, **values: object) -> GpuReading:
    return GpuReading(Identity(index, f"GPU-{index}"))._replace(**values)  # type: ignore[arg-type] # by name


def work(percent: int, carried: bool) -> GpuReading:
    return ok(utilization_percent=percent, carried=carried)
