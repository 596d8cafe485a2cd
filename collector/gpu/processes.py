"""Which processes are on a device: NVML's lists of them, joined by pid."""

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

from gpu_monitor.collector.gpu.queries import Questions
from gpu_monitor.collector.gpu.readings import Use, UseType
from gpu_monitor.collector.gpu.shares import Shares

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


class Lists:
    """One device's lists of processes."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._answers: list[Any] = []
        self._entries: list[Listed] = []

    def read(self) -> list[Listed]:
        """All that the lists hold; a client of MPS (many share one context) computes.

        The very same list as before while no process came, went or took memory.
        """
        questions, processes = self._questions, self._questions.handle.processes
        answers = [questions.ask(kind, name, processes, kind) for kind, name, _ in _KINDS]
        if not self._answers or not all(map(operator.is_, answers, self._answers)):
            self._answers = answers
            self._entries = [
                Listed(pid, type_, size, instance)
                for (_, _, type_), answer in zip(_KINDS, answers, strict=True)
                for pid, size, instance in answer or ()
            ]
        return self._entries


def unread(questions: Questions) -> str | None:
    """Why no list of processes could be read; None when one was."""
    failures = [questions.failures.get(kind) for kind, _, _ in _KINDS]
    if None in failures:
        return None
    return str(failures[0])


def joined(entries: Iterable[Listed]) -> tuple[Use, ...]:
    """One use per pid: a process with compute and graphics is `C+G`, with the larger memory."""
    uses: dict[int, Use] = {}
    for entry in entries:
        before = uses.get(entry.pid)
        type_, size = entry.type, entry.memory_bytes
        if before is not None:
            type_ = type_ if type_ == before.type else "C+G"
            size = max((s for s in (size, before.memory_bytes) if s is not None), default=None)
        uses[entry.pid] = Use(entry.pid, type_, size)
    return tuple(uses.values())


def shared(uses: tuple[Use, ...], shares: Shares) -> tuple[Use, ...]:
    """The same uses with each process's share of the GPU."""
    return tuple(Use(use.pid, use.type, use.memory_bytes, shares.percent(use.pid)) for use in uses)
