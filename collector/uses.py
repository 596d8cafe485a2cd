"""Which processes are on a device: NVML's lists of compute and graphics, joined by pid."""

from collections.abc import Iterable
from dataclasses import replace

from collector.questions import Questions
from collector.readings import Use, UseType

Listed = tuple[Use, int | None]
"""A use and the GPU instance it is on, None on a device that is not divided."""

_KINDS: tuple[tuple[str, UseType], ...] = (("Compute", "C"), ("Graphics", "G"))


def listed(questions: Questions) -> list[Listed]:
    """All that the device's lists hold; processes of MPS stand among the compute ones."""
    found: list[Listed] = []
    for kind, type_ in _KINDS:
        function = f"nvmlDeviceGet{kind}RunningProcesses"
        for pid, size, instance in (
            questions.ask(kind, function, questions.handle.processes, kind) or ()
        ):
            found.append((Use(pid, type_, size), instance))
    return found


def unread(questions: Questions) -> str | None:
    """Why no list of processes could be read; None when one was."""
    failures = [questions.failures.get(kind) for kind, _ in _KINDS]
    if None in failures:
        return None
    return str(failures[0])


def joined(uses: Iterable[Use]) -> tuple[Use, ...]:
    """One row per pid: a process with compute and graphics is `C+G`, with the larger memory."""
    by_pid: dict[int, Use] = {}
    for use in uses:
        before = by_pid.get(use.pid)
        by_pid[use.pid] = use if before is None else _both(before, use)
    return tuple(by_pid.values())


def _both(one: Use, other: Use) -> Use:
    sizes = [size for size in (one.memory_bytes, other.memory_bytes) if size is not None]
    both: UseType = one.type if one.type == other.type else "C+G"
    return replace(one, type=both, memory_bytes=max(sizes, default=None))
