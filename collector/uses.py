"""Which processes are on a device: NVML's lists of them, joined by pid."""

from collections.abc import Iterable
from typing import NamedTuple

from collector.questions import Questions
from collector.readings import Use, UseType
from collector.shares import Shares

_KINDS: tuple[tuple[str, str, UseType], ...] = (
    ("Compute", "nvmlDeviceGetComputeRunningProcesses", "C"),
    ("MPSCompute", "nvmlDeviceGetMPSComputeRunningProcesses", "C"),
    ("Graphics", "nvmlDeviceGetGraphicsRunningProcesses", "G"),
)


class Listed(NamedTuple):
    """An entry of one list; `instance` is the GPU instance, None on a device not divided."""

    pid: int
    type: UseType
    memory_bytes: int | None
    instance: int | None


def listed(questions: Questions) -> list[Listed]:
    """All that the device's lists hold; a client of MPS (many share one context) computes."""
    return [
        Listed(pid, type_, size, instance)
        for kind, function, type_ in _KINDS
        for pid, size, instance in questions.ask(kind, function, questions.handle.processes, kind)
        or ()
    ]


def unread(questions: Questions) -> str | None:
    """Why no list of processes could be read; None when one was."""
    failures = [questions.failures.get(kind) for kind, _, _ in _KINDS]
    if None in failures:
        return None
    return str(failures[0])


def joined(entries: Iterable[Listed], shares: Shares | None = None) -> tuple[Use, ...]:
    """One use per pid: a process with compute and graphics is `C+G`, with the larger memory."""
    by_pid: dict[int, tuple[UseType, int | None]] = {}
    for entry in entries:
        type_, size = by_pid.get(entry.pid, (entry.type, entry.memory_bytes))
        if entry.type != type_:
            type_ = "C+G"
        if entry.memory_bytes is not None and (size is None or entry.memory_bytes > size):
            size = entry.memory_bytes
        by_pid[entry.pid] = (type_, size)
    return tuple(
        Use(pid, type_, size, None if shares is None else shares.percent(pid))
        for pid, (type_, size) in by_pid.items()
    )
