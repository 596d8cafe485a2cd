"""pids become users, commands and start times, read from /proc; a reused pid is another process."""

import os
from collections.abc import Iterable
from typing import Literal, NamedTuple

from gpu_monitor.collector.host.cgroup import container_id, owner_uid, pod_uid, slurm_job_id
from gpu_monitor.collector.host.command_line import clean, describe
from gpu_monitor.collector.host.containers import ContainerNames
from gpu_monitor.collector.host.pidfds import PidFds, most_followed
from gpu_monitor.collector.host.process_load import NO_LOAD, ProcessLoads
from gpu_monitor.collector.host.procfs import (
    is_hidden,
    is_zombie,
    read_file,
    read_optional,
    start_ticks,
    uninterruptible_sleep,
)
from gpu_monitor.collector.host.users import UserNames
from gpu_monitor.collector.settings import Commands
from gpu_monitor.collector.source_guard import SourceGuard

ProcessState = Literal["ended", "zombie", "stuck", "hidden"]
PROCESS_REFRESH_SECONDS = 15.0
"""A process may exec or rename itself: its facts are read again after this long."""
_MPS_SERVER = "nvidia-cuda-mps-server"
"""The program that the clients of MPS share a GPU through; the kernel's name of it is cut."""
_HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the first pid namespace (PROC_PID_INIT_INO in the kernel's proc_ns.h)."""


def sees_host_pids() -> bool:
    """Whether our pids are the host's: in a pid namespace of our own they mean other processes."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _HOST_PID_NAMESPACE
    except OSError:
        return True  # a kernel without namespaces


class ProcessFacts(NamedTuple):
    """Who a process is; None where it is not known (it ended, or the kernel hides it from us).

    `started_ticks` counts the kernel's clock ticks from boot to the start of the process; with the
    pid it identifies the process.

    `state` is None for a process that runs or waits. ended: the driver lists it, but it no longer
    exists. zombie: its parent has not reaped it. stuck: asleep in the kernel for at least 15 s
    where no signal wakes it. hidden: we may not see it.

    `owner` is the uid whose session, rootless container or Slurm job it is in. For a process of
    root, or of a uid without a name, `user` is the owner's name, and the process's own is
    `effective_user`. Otherwise `user` is its own. `group` is the primary group of `user`.

    `mps` is "server" for the server of MPS, which computes for others and nothing of its own.

    `cpu_percent` is of one core, `host_memory_bytes` is resident; None once the process is over.
    From `effective_user` on, fields may change from one sample to the next.
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
    group: str | None = None
    cpu_percent: int | None = None
    host_memory_bytes: int | None = None
    mps: Literal["server"] | None = None


def no_facts(pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
    """Only the pids: in another pid namespace they mean other processes."""
    return {pid: ProcessFacts(pid, state="hidden") for pid in pids}


class _Known(NamedTuple):
    """`over_at` is when the process was first seen to have ended.

    `sleep` is as `uninterruptible_sleep` returns it.
    """

    facts: ProcessFacts
    read_at: float
    over_at: float | None = None
    sleep: str | None = None


class ProcessTable:
    """Facts about processes, kept for as long as they are asked for.

    `proc` is where the kernel's process folder is mounted. `settle` (seconds) is how old the
    driver's list of processes may be: only a process that is still listed that long after its end
    is shown as ended.
    """

    def __init__(
        self,
        commands: Commands,
        users: UserNames,
        proc: str = "/proc",
        settle: float = 0.0,
        containers: ContainerNames | None = None,
        guard: SourceGuard | None = None,
    ) -> None:
        self._guard = guard or SourceGuard()
        self._commands: Commands = commands
        self._users = users
        self._proc = proc
        self._settle = settle
        self._containers = containers or ContainerNames()
        self._known: dict[int, _Known] = {}
        self._loads = ProcessLoads(proc)
        self._pidfds = PidFds(most_followed())

    def facts(self, pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
        """What is known about each pid; about one that has ended, what was known before.

        Forgets every process not asked for. `now` in monotonic seconds. A failure costs the facts
        about one process.
        """
        ended = self._pidfds.ended()
        facts = {pid: self._guarded_facts(pid, now, pid in ended) for pid in pids}
        for pid in self._known.keys() - facts.keys():
            self._forget(pid)
        return facts

    def _guarded_facts(self, pid: int, now: float, has_ended: bool) -> ProcessFacts:
        facts = self._guard.attempt(
            "a process's facts", lambda: self._facts(pid, now, has_ended), None
        )
        if facts is None:
            self._forget(pid)
        return facts or ProcessFacts(pid)

    def _facts(self, pid: int, now: float, has_ended: bool) -> ProcessFacts:
        known = self._known.get(pid)
        if known is None or has_ended or self._is_due(known, now) or not self._is_same(known):
            if has_ended or not self._pidfds.is_followed(pid):
                self._pidfds.follow(pid)
            known = self._refreshed(pid, now)
        facts = known.facts
        user, effective_user, group = self._names(facts, now)
        is_running = facts.uid is not None and known.over_at is None
        load = self._loads.sample(pid, now) if is_running else NO_LOAD
        current = (effective_user, group, *load)
        if user != facts.user or current != facts[-len(current) :]:
            facts = facts._replace(
                user=user,
                effective_user=effective_user,
                group=group,
                cpu_percent=load.cpu_percent,
                host_memory_bytes=load.memory_bytes,
            )
            known = known._replace(facts=facts)
        self._known[pid] = known
        return facts

    def _names(self, facts: ProcessFacts, now: float) -> tuple[str | None, str | None, str | None]:
        """Who is responsible for the process, the user it runs as where that is another, and the
        group of the former."""
        uid, owner = facts.uid, facts.owner
        if uid is None:
            return None, None, None
        own = self._users.resolve(uid, now)
        if owner is None or owner == uid or not (uid == 0 or self._users.is_nameless(uid)):
            return own, None, self._users.group(uid, now)
        return self._users.resolve(owner, now), own, self._users.group(owner, now)

    def _is_due(self, known: _Known, now: float) -> bool:
        return known.over_at is not None or now - known.read_at >= PROCESS_REFRESH_SECONDS

    def _is_same(self, known: _Known) -> bool:
        """Whether the pid still belongs to the process that we know."""
        pid = known.facts.pid
        return self._pidfds.is_followed(pid) or self._ticks(pid) == known.facts.started_ticks

    def _ticks(self, pid: int) -> int | None:
        try:
            return start_ticks(read_file(f"{self._proc}/{pid}/stat", 4096))
        except (OSError, ValueError, IndexError):
            return None

    def _refreshed(self, pid: int, now: float) -> _Known:
        before = self._known.get(pid)
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
        sleep = uninterruptible_sleep(folder, stat)
        if sleep is not None and before is not None and sleep == before.sleep:
            facts = facts._replace(state="stuck")
        return _Known(facts, now, sleep=sleep)

    def _over(self, state: ProcessState, known: _Known, now: float) -> _Known:
        over_at = now if known.over_at is None else known.over_at
        shown = state if now - over_at >= self._settle else None
        return known._replace(facts=known.facts._replace(state=shown), over_at=over_at)

    def _read(self, pid: int, ticks: int, now: float) -> ProcessFacts:
        status = read_file(f"{self._proc}/{pid}/status")
        # the folder belongs to root where a process may not be dumped: `status` has the user
        uid = int(status[status.index(b"\nUid:") + 5 :].split(None, 1)[0])
        group = read_optional(f"{self._proc}/{pid}/cgroup").decode("utf-8", "replace")
        line = read_optional(f"{self._proc}/{pid}/cmdline").decode("utf-8", "replace")
        argv = line.rstrip("\0").split("\0")
        return ProcessFacts(
            pid=pid,
            started_ticks=ticks,
            uid=uid,
            owner=owner_uid(group),
            command=self._command(argv, status),
            container=self._containers.resolve(container_id(group), now),
            slurm_job_id=slurm_job_id(group),
            pod_uid=pod_uid(group),
            mps="server" if os.path.basename(argv[0]) == _MPS_SERVER else None,
        )

    def _command(self, argv: list[str], status: bytes) -> str | None:
        if self._commands == "off":
            return None
        if argv != [""] and (command := describe(argv, self._commands)):
            return command
        name = status.split(b"\n", 1)[0].partition(b":")[2]  # a kernel thread or a zombie
        return clean(name.decode("utf-8", "replace")) or None

    def _forget(self, pid: int) -> None:
        self._known.pop(pid, None)
        self._loads.forget(pid)
        self._pidfds.forget(pid)
