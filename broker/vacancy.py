"""Whether a job can start on a GPU without a visible compute process; pure.

Free is a promise, so whatever is not known makes it null.
"""

from typing import Final, NamedTuple

from gpu_monitor.wire.document import Column, Table

BUSY: Final = "busy"
FREE: Final = "free"
HELD_IDLE: Final = "held_idle"

_HIDDEN_WORK = "in use in the last 30 s, compute process not visible"
_NO_SLICES = "MIG mode is on, but no slice exists or is visible"
_FAILED = "the GPU has failed"
_PROHIBITED = "compute mode prohibited: no process may use it"
_UNREAD = "its processes cannot be read"
_UNOBSERVED = "its utilization over the last 30 s is not known"
_NO_MEMORY = "its memory use is not known"


_NO_WORK = ("quiet", "unmeasured")


class GpuUse(NamedTuple):
    """A GPU's use and, where its processes and memory do not explain that, the reason in words."""

    use: str | None
    reason: str | None = None


_CAN_START = GpuUse(FREE)


class Vacancies:
    """The verdicts on one host's GPUs. What a slice lacks, its GPU says: `parents` are the rows of
    the slices' GPUs, None for a GPU."""

    def __init__(self, gpus: Table, parents: Column) -> None:
        unknown: Column = [None] * len(parents)
        self._parents = parents
        self._activity = gpus.get("activity") or unknown
        self._compute_modes = gpus.get("compute_mode") or unknown
        self._mig_modes = gpus.get("mig_mode") or unknown
        self._unread = gpus.get("processes_unread") or unknown
        self._health = gpus.get("health") or unknown
        self._kinds = gpus.get("memory_kind") or unknown

    def verdict(self, row: int) -> GpuUse:
        """On a GPU that is not divided, with no compute process and little memory in use."""
        if self._activity[row] == "working":
            return GpuUse(BUSY, _HIDDEN_WORK)
        reason = self._obstacle(row)
        return _CAN_START if reason is None else GpuUse(None, reason)

    def _obstacle(self, row: int) -> str | None:
        """Why no job can start, or why that is not known."""
        parent = self._parents[row]
        card = row if parent is None else parent
        if parent is None and self._mig_modes[row] == "enabled":
            return _NO_SLICES
        if self._health[card] == "failed":
            return _FAILED
        mode = self._compute_modes[card]
        if mode == "prohibited":
            return _PROHIBITED
        if mode not in (None, "default") and not _is_exclusive(mode):
            return f"compute mode {mode}: not known whether a process may use it"
        if self._unread[row] is not None and self._needs_processes(row, mode):
            return _UNREAD
        return None if self._activity[row] in _NO_WORK else _UNOBSERVED

    def _needs_processes(self, row: int, mode: str | None) -> bool:
        """Whether only the processes could show that the GPU is in use."""
        without_trace = self._activity[row] == "unmeasured" or self._kinds[row] == "numa"
        return without_trace or _is_exclusive(mode)

    def exclusion(self, row: int) -> str | None:
        """Why no job can start beside a compute process on this GPU; None where one can."""
        parent = self._parents[row]
        mode = self._compute_modes[row if parent is None else parent]
        return f"compute mode {mode}: no other process may use it" if _is_exclusive(mode) else None


def without_memory(verdict: GpuUse) -> GpuUse:
    """The verdict on a GPU whose memory use, which could show a hidden process, is not known."""
    return verdict if verdict.use == BUSY else GpuUse(None, verdict.reason or _NO_MEMORY)


def _is_exclusive(mode: str | None) -> bool:
    return mode is not None and mode.startswith("exclusive")
