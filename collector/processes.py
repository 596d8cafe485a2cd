"""pids become users, commands, start times: read from /proc, told from a reused pid."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from collector.cgroup import container_id, job_name
from collector.readings import ProcessFacts
from collector.scrub import clean, describe
from collector.settings import Commands
from collector.users import Users

REFRESH_SECONDS = 15.0
"""A process may exec or rename itself: what is known about it is read again after this long."""
_HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the first pid namespace (PROC_PID_INIT_INO in the kernel's proc_ns.h)."""
_MAX_BYTES = 65_536


def sees_host_pids() -> bool:
    """Whether our pids are the host's: in a pid namespace of our own, other processes bear them."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _HOST_PID_NAMESPACE
    except OSError:
        return True  # a kernel without namespaces


OTHER_NAMESPACE = (
    "processes' owners are not visible here: the collector runs in a container whose pids are not"
    " the host's; run it on the host, or with the host's pids (--pid=host)"
)


def no_facts(pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
    """Only the pids: in another pid namespace nothing may be said of the processes behind them."""
    return {pid: ProcessFacts(pid) for pid in pids}


def read_file(path: str, size: int = _MAX_BYTES) -> bytes:
    """The beginning of a file of /proc or /sys, in one read; OSError as open and read raise it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def start_ticks(stat: bytes) -> int:
    """Field 22 of /proc/PID/stat; the name in field 2 may hold spaces and brackets (proc(5))."""
    return int(stat[stat.rindex(b")") + 2 :].split(b" ", 20)[19])


@dataclass(frozen=True, slots=True)
class _Known:
    facts: ProcessFacts
    read_at: float


class Processes:
    """Facts about processes, kept while they are asked for.

    `proc` is where the kernel's process folder is mounted.
    """

    def __init__(self, commands: Commands, users: Users, proc: str = "/proc") -> None:
        self._commands: Commands = commands
        self._users = users
        self._proc = proc
        self._known: dict[int, _Known] = {}

    def facts(self, pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
        """What is known of each pid; a process that ended or is hidden has a pid only.

        Forgets every process not asked for. `now` in monotonic seconds.
        """
        known = {pid: self._read(pid, now) for pid in pids}
        self._known = {pid: entry for pid, entry in known.items() if entry is not None}
        return {
            pid: entry.facts if entry is not None else ProcessFacts(pid)
            for pid, entry in known.items()
        }

    def _read(self, pid: int, now: float) -> _Known | None:
        folder = f"{self._proc}/{pid}"
        try:
            ticks = start_ticks(read_file(f"{folder}/stat", 4096))
        except (OSError, ValueError, IndexError):
            return None
        known = self._known.get(pid)
        fresh = known is not None and now - known.read_at < REFRESH_SECONDS
        if known is not None and fresh and known.facts.started_ticks == ticks:
            return self._with_name(known, now)
        try:
            return self._with_name(_Known(self._look(pid, ticks, folder), now), now)
        except (OSError, ValueError, IndexError):  # it ended between two reads
            return _Known(ProcessFacts(pid, ticks), now - REFRESH_SECONDS)

    def _with_name(self, known: _Known, now: float) -> _Known:
        """The user's name as the name service gives it by now."""
        uid = known.facts.uid
        user = self._users.name(uid, now) if uid is not None else None
        if user == known.facts.user:
            return known
        return _Known(replace(known.facts, user=user), known.read_at)

    def _look(self, pid: int, ticks: int, folder: str) -> ProcessFacts:
        # the owner of the folder is root where a process may not be dumped; `status` tells the user
        status = read_file(f"{folder}/status")
        uid = int(status[status.index(b"\nUid:") + 5 :].split(None, 1)[0])
        group = _optional(f"{folder}/cgroup").decode("utf-8", "replace")
        return ProcessFacts(
            pid=pid,
            started_ticks=ticks,
            uid=uid,
            command=self._command(folder, status),
            container=container_id(group),
            job=job_name(group),
        )

    def _command(self, folder: str, status: bytes) -> str | None:
        if self._commands == "off":
            return None
        line = _optional(f"{folder}/cmdline").decode("utf-8", "replace")
        argv = line.rstrip("\0").split("\0")
        if line and (command := describe(argv, self._commands)):
            return command
        name = status.split(b"\n", 1)[0].partition(b":")[2]  # a kernel thread or a zombie
        return clean(name.decode("utf-8", "replace")) or None


def _optional(path: str) -> bytes:
    """A file that the kernel may keep from us, or that is empty: no bytes then."""
    try:
        return read_file(path)
    except OSError:
        return b""
