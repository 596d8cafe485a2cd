"""pids become users, commands, start times: read from /proc, told from a reused pid."""

import os
from collections.abc import Iterable
from typing import Literal, NamedTuple

from gpu_monitor.collector.host.cgroup import container_id, owner_uid, pod_uid, slurm_job_id
from gpu_monitor.collector.host.command_line import clean, describe
from gpu_monitor.collector.host.containers import Containers
from gpu_monitor.collector.host.pidfds import Endings
from gpu_monitor.collector.host.procfs import read_file, read_optional
from gpu_monitor.collector.host.states import fields, is_hidden, is_zombie, uninterruptible
from gpu_monitor.collector.host.users import Users
from gpu_monitor.collector.settings import Commands

ProcessState = Literal["ended", "zombie", "stuck", "hidden"]
REFRESH_SECONDS = 15.0
"""A process may exec or rename itself: what is known about it is read again after this long."""
_HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the first pid namespace (PROC_PID_INIT_INO in the kernel's proc_ns.h)."""


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


class ProcessFacts(NamedTuple):
    """Who a process is; None is not known (it ended, or the kernel hides it from us).

    `started_ticks` counts the kernel's clock ticks from boot to the process's start; with the
    pid it tells a process from a later one of the same number. `state` is None for one that
    runs or waits; ended: the driver lists it, and it is no more; zombie: its parent has not taken
    note of its end; stuck: asleep in the kernel where no signal wakes it, 15 s at least; hidden:
    it is not for us to see. `owner` is the uid of whose session it is in, where that is told.
    `user` is the owner's name for a process of root or of a uid without a name, whose own name is
    `effective_user` then; else `user` is its own.
    """

    pid: int
    started_ticks: int | None = None
    uid: int | None = None
    user: str | None = None
    command: str | None = None
    container: str | None = None
    slurm_job_id: str | None = None
    pod_uid: str | None = None
    state: ProcessState | None = None
    owner: int | None = None
    effective_user: str | None = None


def no_facts(pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
    """Only the pids: in another pid namespace nothing may be said of the processes behind them."""
    return {pid: ProcessFacts(pid, state="hidden") for pid in pids}


def start_ticks(stat: bytes) -> int:
    """Field 22 of /proc/PID/stat."""
    return int(fields(stat)[19])


class _Known(NamedTuple):
    """`over_at` is when the process was first seen to have ended, `sleep` as `uninterruptible`."""

    facts: ProcessFacts
    read_at: float
    over_at: float | None = None
    sleep: str | None = None


class Processes:
    """Facts about processes, kept while they are asked for.

    `proc` is where the kernel's process folder is mounted, `containers` knows names. `settle` is
    how old (seconds) the driver's list of processes may be: one that ends is said to have ended
    if it is asked for that much later.
    """

    def __init__(
        self,
        commands: Commands,
        users: Users,
        proc: str = "/proc",
        settle: float = 0.0,
        containers: Containers | None = None,
    ) -> None:
        self._commands: Commands = commands
        self._users = users
        self._proc = proc
        self._settle = settle
        self._containers = containers or Containers()
        self._known: dict[int, _Known] = {}
        self._endings = Endings()

    def facts(self, pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
        """What is known of each pid, of one that has ended what was known before.

        Forgets every process not asked for. `now` in monotonic seconds.
        """
        ended = self._endings.ended()
        facts = {pid: self._facts(pid, now, pid in ended) for pid in pids}
        for pid in self._known.keys() - facts.keys():
            self._forget(pid)
        return facts

    def _facts(self, pid: int, now: float, has_ended: bool) -> ProcessFacts:
        known = self._known.get(pid)
        if known is None or has_ended or self._is_due(known, now) or not self._is_same(known):
            known = self._look(pid, now)
        user, effective_user = self._names(known.facts, now)
        if user != known.facts.user or effective_user != known.facts.effective_user:
            known = known._replace(
                facts=known.facts._replace(user=user, effective_user=effective_user)
            )
        self._known[pid] = known
        return known.facts

    def _names(self, facts: ProcessFacts, now: float) -> tuple[str | None, str | None]:
        """Who has started the process, and as whom it runs where that is only a cloak."""
        uid, owner = facts.uid, facts.owner
        if uid is None:
            return None, None
        own = self._users.name(uid, now)
        if owner in (None, uid) or not (uid == 0 or self._users.is_nameless(uid)):
            return own, None
        return self._users.name(owner, now), own

    def _is_due(self, known: _Known, now: float) -> bool:
        return known.over_at is not None or now - known.read_at >= REFRESH_SECONDS

    def _is_same(self, known: _Known) -> bool:
        """Whether the pid is still the process we know."""
        pid = known.facts.pid
        return self._endings.follows(pid) or self._ticks(pid) == known.facts.started_ticks

    def _ticks(self, pid: int) -> int | None:
        try:
            return start_ticks(read_file(f"{self._proc}/{pid}/stat", 4096))
        except (OSError, ValueError, IndexError):
            return None

    def _look(self, pid: int, now: float) -> _Known:
        before = self._known.get(pid)
        self._endings.follow(pid)
        folder = f"{self._proc}/{pid}"
        try:
            stat = read_file(f"{folder}/stat", 4096)
            facts, is_over = self._read(pid, start_ticks(stat), now), is_zombie(stat)
        except (OSError, ValueError, IndexError):
            if is_hidden(pid):
                return _Known(ProcessFacts(pid, state="hidden"), now)
            return self._over("ended", before or _Known(ProcessFacts(pid), now), now)
        if before is not None and before.facts.started_ticks != facts.started_ticks:
            before = None
        if is_over:
            return self._over("zombie", before or _Known(facts, now), now)
        sleep = uninterruptible(folder, stat)
        if sleep is not None and before is not None and sleep == before.sleep:
            facts = facts._replace(state="stuck")
        return _Known(facts, now, sleep=sleep)

    def _over(self, state: ProcessState, known: _Known, now: float) -> _Known:
        over_at = now if known.over_at is None else known.over_at
        said = state if now - over_at >= self._settle else None
        return known._replace(facts=known.facts._replace(state=said), over_at=over_at)

    def _read(self, pid: int, ticks: int, now: float) -> ProcessFacts:
        status = read_file(f"{self._proc}/{pid}/status")
        # the folder's owner is root where a process may not be dumped: `status` has the user
        uid = int(status[status.index(b"\nUid:") + 5 :].split(None, 1)[0])
        group = read_optional(f"{self._proc}/{pid}/cgroup").decode("utf-8", "replace")
        return ProcessFacts(
            pid=pid,
            started_ticks=ticks,
            uid=uid,
            owner=owner_uid(group),
            command=self._command(pid, status),
            container=self._containers.name(container_id(group), now),
            slurm_job_id=slurm_job_id(group),
            pod_uid=pod_uid(group),
        )

    def _command(self, pid: int, status: bytes) -> str | None:
        if self._commands == "off":
            return None
        line = read_optional(f"{self._proc}/{pid}/cmdline").decode("utf-8", "replace")
        argv = line.rstrip("\0").split("\0")
        if line and (command := describe(argv, self._commands)):
            return command
        name = status.split(b"\n", 1)[0].partition(b":")[2]  # a kernel thread or a zombie
        return clean(name.decode("utf-8", "replace")) or None

    def _forget(self, pid: int) -> None:
        self._known.pop(pid, None)
        self._endings.forget(pid)
