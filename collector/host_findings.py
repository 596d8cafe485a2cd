"""What is wrong with a host: full disks, memory that ended processes hold, rows left out; pure."""

from collections.abc import Iterable, Iterator, Sequence

from gpu_monitor.collector.columns import MAX_GPUS, MAX_PROCESSES, GpuRow, ProcessRow, mib
from gpu_monitor.collector.findings import Finding, PlacedFinding
from gpu_monitor.collector.host.processes import ProcessState
from gpu_monitor.collector.wire_fit import listed
from gpu_monitor.wire.document import Table
from gpu_monitor.wire.gpu_labels import gpu_labels

FOREIGN_PIDS = Finding(
    "no_pids",
    "warning",
    "process owners are not visible here, because the collector runs in a container whose pids are"
    " not the host's",
    "run it on the host, or with the host's pids (--pid=host)",
)
DISK_FULL_PERCENT = 95
DISK_NOT_FULL_PERCENT = 92
"""A disk that was full is full until it is below this."""

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


def rows_cut(gpus: int, processes: int) -> Iterator[Finding]:
    """The wire carries fewer rows than the host has GPUs and slices, or processes on them."""
    if gpus > MAX_GPUS:
        yield Finding("rows_cut", "warning", f"{MAX_GPUS} of {gpus} GPUs and slices shown", key="g")
    if processes > MAX_PROCESSES:
        words = f"{MAX_PROCESSES} of {processes} processes shown, those with the most GPU memory"
        yield Finding("rows_cut", "info", words, key="p")


def full_disks(disks: Table, before: Iterable[str]) -> list[str]:
    """The mount points of full disks; `before` is the last answer."""
    full = []
    for mount, total, used in zip(
        disks["mount"], disks["total_mib"], disks["used_mib"], strict=True
    ):
        limit = DISK_NOT_FULL_PERCENT if mount in before else DISK_FULL_PERCENT
        if 100 * used >= limit * total:
            full.append(mount)
    return full


def disk_findings(full: Iterable[str]) -> Iterator[Finding]:
    """One for each mount point of a full disk."""
    for mount in full:
        yield Finding("disk_full", "warning", f"the disk at {mount} is nearly full", key=mount)


def held_memory(gpus: Sequence[GpuRow], processes: Sequence[ProcessRow]) -> Iterator[PlacedFinding]:
    """One for each state in which processes hold GPU memory though they no longer run."""
    labels = gpu_labels([row.gpu.identity.number for row in gpus], [row.parent for row in gpus])
    for state, (one, several, remedy) in _PROCESS_WORDS.items():
        rows = [row for row in processes if row.facts.state == state]
        if not rows:
            continue
        pids = sorted({row.use.pid for row in rows})
        holders = one if len(pids) == 1 else f"{len(pids)} {several}"
        places = list(dict.fromkeys(row.gpu for row in rows))
        held = _memory(rows)
        if len(places) > 1:
            held += f" of GPU {listed([labels[place] for place in places])}"
        finding = Finding(
            "memory_held",
            "warning",
            f"{held} held by {holders} (pid {listed(pids)})",
            remedy,
            key=state,
        )
        yield PlacedFinding(places[0] if len(places) == 1 else None, finding)


def _memory(rows: Sequence[ProcessRow]) -> str:
    sizes = [size for row in rows if (size := mib(row.use.memory_bytes)) is not None]
    return f"{sum(sizes) / 1024:.1f} GiB" if sizes else "memory"
