"""The stalled rule on a kernel that only spins: does a hung job look as the rule expects?"""

from typing import Any

from gpu_monitor.collector.activity import (
    STALLED_MEMORY_PERCENT,
    STALLED_POWER_SHARE,
    STALLED_UTILIZATION_PERCENT,
)

from .collector import gpu_row, running_collector
from .load import running_load
from .options import Options
from .record import Recorder, Unchecked

SECONDS = 5.0
LOAD_MIB = 64


def follow_spin(record: Recorder, options: Options) -> None:
    """One thread spins, then a kernel fills the GPU: the rule must tell them apart."""
    with running_collector(record) as collector:
        collector.snapshots(options.seconds(3))
        for kind, expected in (("spin", True), ("heavy", False)):
            with running_load(record, options, kind, LOAD_MIB):
                rows = collector.snapshots(max(3.0, options.seconds(SECONDS)))
                _judge(record, kind, gpu_row(rows[-1], options.gpu), expected)


def _judge(record: Recorder, kind: str, row: dict[str, Any], expected: bool) -> None:
    names = ("utilization_percent", "memory_controller_utilization_percent")
    used, memory = (row[name] for name in names)
    power, limit = row["power_watts"], row["power_limit_watts"]
    if None in (used, memory, power, limit) or not limit:
        raise Unchecked(f"the rule needs values that this GPU lacks: {used, memory, power, limit}")
    values = {"utilization": used, "memory": memory, "power_share": round(power / limit, 3)}
    record.note(kind, values)
    stalled = (
        used >= STALLED_UTILIZATION_PERCENT
        and memory <= STALLED_MEMORY_PERCENT
        and power < limit * STALLED_POWER_SHARE
    )
    rule = [STALLED_UTILIZATION_PERCENT, STALLED_MEMORY_PERCENT, STALLED_POWER_SHARE]
    what = f"a kernel that {'spins looks' if expected else 'works does not look'} stalled"
    record.check(what, stalled is expected, values, f"rule {rule}: {expected}")
