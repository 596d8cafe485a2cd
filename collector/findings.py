"""Words about GPU memory that is held by processes of which nothing runs any more; pure."""

from collections.abc import Iterator, Sequence

from gpu_monitor.collector.columns import GpuRow, ProcessRow, mib
from gpu_monitor.collector.host.processes import ProcessState

_WORDS: dict[ProcessState, tuple[str, str, str]] = {
    "ended": (
        "that has ended",
        "that have ended",
        "who has it open still, fuser -v /dev/nvidia* shows to root",
    ),
    "zombie": (
        "that is a zombie",
        "that are zombies",
        "it goes when the parent process takes note or ends",
    ),
    "stuck": (
        "stuck in the kernel",
        "stuck in the kernel",
        "no signal ends that; if it lasts, reboot",
    ),
}


def held(gpus: Sequence[GpuRow], processes: Sequence[ProcessRow]) -> Iterator[str]:
    """A line for each such state, with what helps."""
    for state, (one, more, help_) in _WORDS.items():
        rows = [row for row in processes if row.facts.state == state]
        if not rows:
            continue
        pids = sorted({row.use.pid for row in rows})
        who = f"1 process {one}" if len(pids) == 1 else f"{len(pids)} processes {more}"
        places = dict.fromkeys(_label(gpus, row.gpu) for row in rows)
        yield (
            f"{_size(rows)} of GPU {', '.join(places)} held by {who}"
            f" (pid {', '.join(map(str, pids))}): {help_}"
        )


def _size(rows: Sequence[ProcessRow]) -> str:
    sizes = [size for row in rows if (size := mib(row.use.memory_bytes)) is not None]
    return f"{sum(sizes) / 1024:.1f} GiB" if sizes else "memory"


def _label(gpus: Sequence[GpuRow], row: int) -> str:
    """A GPU's index, and a slice's after that of its GPU."""
    number, parent = gpus[row].gpu.identity.number, gpus[row].parent
    return str(number) if parent is None else f"{gpus[parent].gpu.identity.number}.{number}"
