"""Problems in words: memory held by processes that no longer run, rows left out; pure."""

from collections.abc import Iterator, Sequence

from gpu_monitor.collector.columns import MAX_GPUS, MAX_PROCESSES, GpuRow, ProcessRow, mib
from gpu_monitor.collector.host.processes import ProcessState
from gpu_monitor.collector.wire_fit import listed
from gpu_monitor.wire.gpu_labels import gpu_labels

FOREIGN_PIDS = (
    "process owners are not visible here: the collector runs in a container whose pids are not"
    " the host's; run it on the host, or with the host's pids (--pid=host)"
)

_PROCESS_WORDS: dict[ProcessState, tuple[str, str, str]] = {
    "ended": (
        "1 process that has ended",
        "processes that have ended",
        "as root, fuser -v /dev/nvidia* shows what still has it open",
    ),
    "zombie": (
        "1 zombie process",
        "zombie processes",
        "it is freed once the parent process reaps it or ends",
    ),
    "stuck": (
        "1 process stuck in the kernel",
        "processes stuck in the kernel",
        "no signal ends it; if it lasts, reboot",
    ),
}
"""By state: one process, several of them, and the remedy."""


def gpus_cut(total: int) -> str:
    """The wire carries fewer rows than the host has GPUs and slices."""
    return f"{MAX_GPUS} of {total} GPUs and slices shown"


def processes_cut(total: int) -> str:
    """The wire carries fewer rows than there are processes on the GPUs."""
    return f"{MAX_PROCESSES} of {total} processes shown: those with the most GPU memory"


def held_memory(gpus: Sequence[GpuRow], processes: Sequence[ProcessRow]) -> Iterator[str]:
    """A line for each state in which processes hold GPU memory though they no longer run."""
    labels = gpu_labels([row.gpu.identity.number for row in gpus], [row.parent for row in gpus])
    for state, (one, several, remedy) in _PROCESS_WORDS.items():
        rows = [row for row in processes if row.facts.state == state]
        if not rows:
            continue
        pids = sorted({row.use.pid for row in rows})
        holders = one if len(pids) == 1 else f"{len(pids)} {several}"
        places = list(dict.fromkeys(labels[row.gpu] for row in rows))
        yield (
            f"{_memory(rows)} of GPU {listed(places)} held by {holders}"
            f" (pid {listed(pids)}): {remedy}"
        )


def _memory(rows: Sequence[ProcessRow]) -> str:
    sizes = [size for row in rows if (size := mib(row.use.memory_bytes)) is not None]
    return f"{sum(sizes) / 1024:.1f} GiB" if sizes else "memory"
