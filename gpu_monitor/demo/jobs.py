"""Jobs that come and go on the GPUs of a simulated host, and what they do to its readings."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from gpu_monitor.demo.hardware import DEMO_GROUPS, DEMO_USERS, FIRST_UID, PROGRAMS, Model
from gpu_monitor.wire.document import PROCESS_COLUMNS, Table

HOUR_SECONDS = 3600.0
JOB_LEVELS = (35, 62, 80, 93, 98, 99)
"""The utilization that jobs drift towards, in percent."""
JOB_SECONDS = 600.0
"""Mean duration of a job, beyond a minimum of ten seconds."""
IDLE_JOB_SECONDS = 12 * HOUR_SECONDS
"""Mean duration of a job that only holds its memory."""
START_CHANCE = 0.004
"""Probability per second that a free GPU gets a job."""
DRIFT_CHANCE = 0.75
"""Probability per second that the readings of a GPU change."""
STALLED_WORK = 12
"""A stalled GPU draws power and heats up like one with this utilization, in percent."""
QUIET_SECONDS = 30.0
"""After this long without work a GPU may be free."""
IDLE_SM_CLOCK_MHZ = 210


@dataclass(slots=True)
class Job:
    """A user's processes on some GPUs, one on each.

    `level` is the utilization it drifts towards, in percent; `until` is when it ends. `idle_since`
    is set if it only holds its memory, `is_stalled` if it spins without doing work.
    """

    rows: list[int]
    user: int
    program: str
    pid: int
    memory: int
    level: int
    started_at: int
    until: float
    idle_since: int | None = None
    container: str | None = None
    slurm: str | None = None
    graphics: bool = False
    is_stalled: bool = False

    @property
    def cpu_percent(self) -> int:
        """Of one core, by each process: a few cores while it works, none while it is idle."""
        return 40 + 7 * self.level + self.pid % 90 if self.level else 0

    @property
    def host_memory(self) -> int:
        """MiB of each process: weights and batches pass through the host's memory."""
        return 2_000 + self.memory // 2 + self.pid % 500


class Phase(NamedTuple):
    """What a GPU does from `since` (unix seconds) on: utilization in percent, memory in MiB."""

    since: int
    level: int
    memory: int


class Jobs:
    """The jobs on the rows of `gpus` that can work: `usable` GPUs and MIG `slices`."""

    def __init__(
        self, gpus: Table, model: Model, random: Random, usable: list[int], slices: list[int]
    ) -> None:
        self._gpus = gpus
        self._model = model
        self._random = random
        self._usable = usable
        self._slices = slices
        self._jobs: list[Job] = []
        self._job_of: dict[int, Job] = {}

    def start_first(self, now: float) -> None:
        """Put jobs of various ages on most rows."""
        for row in self._usable + self._slices:
            if row in self._job_of or self._random.random() < 0.2:
                continue
            started_at = now - self._random.expovariate(1 / (6 * HOUR_SECONDS)) - 60
            self._start(row, now, started_at, idle=self._random.random() < 0.12)

    def hold_all(self, now: float) -> None:
        """Replace all jobs by one that holds every GPU and has been idle for hours."""
        for job in list(self._jobs):
            self._end(job, now)
        self._start(self._usable[0], now, now - 31 * HOUR_SECONDS, idle=True, wide=True)

    def stall_one(self, now: float) -> None:
        """Let one of the jobs that are older than an hour have stalled half an hour ago."""
        old = [job for job in self._jobs if job.level and now - job.started_at > HOUR_SECONDS]
        for job in old[:1]:
            job.level, job.is_stalled, job.until = max(JOB_LEVELS), True, now + 12 * HOUR_SECONDS
            for row in job.rows:
                self._gpus["stalled_since"][row] = int(now - HOUR_SECONDS / 2)
                self._drift(row)

    def step(self, now: float, starts: bool) -> bool:
        """End and, with `starts`, start jobs as in one second; return whether any changed."""
        changed = False
        for row in self._usable + self._slices:
            job = self._job_of.get(row)
            if job is not None and job.until <= now:
                self._end(job, now)
                changed = True
            elif job is None and starts and self._random.random() < START_CHANCE:
                self._start(row, now, started_at=now)
                changed = True
        self._update_activity(now)
        return changed

    def _update_activity(self, now: float) -> None:
        """A GPU whose job has ended is quiet half a minute later."""
        for row in self._usable:
            idle_since = self._gpus["idle_since"][row]
            rests = idle_since is not None and now - idle_since >= QUIET_SECONDS
            self._gpus["activity"][row] = "quiet" if rests else "working"

    def drift(self) -> None:
        """Change up to four readings of most GPUs, as in one second."""
        for row in self._usable:
            if self._random.random() < DRIFT_CHANCE:
                self._drift(row)

    def recent_phases(self) -> dict[int, list[Phase]]:
        """By row, what each usable GPU has done since its job came or went, newest phase first."""
        return {row: self._recent_phases(row) for row in self._usable}

    def processes(self, unread: int | None = None) -> Table:
        """The table of processes, without those of the row `unread`."""
        table: Table = {column: [] for column in PROCESS_COLUMNS}
        for values in self._processes():
            if values["gpu"] == unread:
                continue
            for column, value in values.items():
                table[column].append(value)
        return table

    def update_divided(self) -> None:
        """A GPU divided into slices uses the memory of all of them."""
        for row in {self._gpus["parent"][each] for each in self._slices}:
            used = sum(self._gpus["memory_used_mib"][each] for each in self._slices)
            self._gpus["memory_used_mib"][row] = used

    def _processes(self) -> Iterator[dict[str, object]]:
        for job in self._jobs:
            for offset, row in enumerate(job.rows):
                yield {
                    "gpu": row,
                    "pid": job.pid + offset,
                    "user": DEMO_USERS[job.user],
                    "uid": FIRST_UID + job.user,
                    "group": DEMO_GROUPS[job.user % len(DEMO_GROUPS)],
                    "effective_user": None,
                    "command": job.program,
                    "container": job.container,
                    "slurm_job_id": job.slurm,
                    "pod_uid": None,
                    "state": None,
                    "started_at": job.started_at,
                    "idle_since": job.idle_since,
                    "gpu_memory_mib": job.memory - 3,
                    "sm_utilization_percent": None if row in self._slices else job.level,
                    "type": "C+G" if job.graphics else "C",
                    "mps": None,
                    "cpu_percent": job.cpu_percent,
                    "host_memory_mib": job.host_memory,
                }

    def _recent_phases(self, row: int) -> list[Phase]:
        job = self._job_of.get(row)
        if job is None:
            return [Phase(self._gpus["idle_since"][row], 0, self._gpus["memory_used_mib"][row])]
        if job.idle_since is None:
            return [Phase(job.started_at, job.level, job.memory)]
        worked = Phase(job.started_at, max(JOB_LEVELS), job.memory)
        return [Phase(job.idle_since, 0, job.memory), worked]

    def _start(
        self, row: int, now: float, started_at: float, idle: bool = False, wide: bool = False
    ) -> None:
        """Start a job on `row` and perhaps on other free GPUs; `wide`: on all of them."""
        random = self._random
        rows = [row]
        if row in self._usable and (wide or random.random() < 0.35):
            free = [other for other in self._usable if other not in self._job_of and other != row]
            rows += free if wide else free[: random.choice((1, 3))]
        total = min(self._gpus["memory_total_mib"][each] for each in rows)
        mean_seconds = IDLE_JOB_SECONDS if idle else JOB_SECONDS
        job = Job(
            rows=rows,
            user=random.randrange(len(DEMO_USERS)),
            program=random.choice(PROGRAMS),
            pid=random.randint(2_000, 4_000_000),
            memory=int(total * random.uniform(0.15, 0.96)),
            level=0 if idle else random.choice(JOB_LEVELS),
            started_at=int(started_at),
            until=now + random.expovariate(1 / mean_seconds) + 10,
            idle_since=int(started_at + random.uniform(0.1, 0.6) * (now - started_at))
            if idle
            else None,
            container=f"{random.getrandbits(48):012x}" if random.random() < 0.3 else None,
            slurm=str(random.randint(180_000, 199_999)) if random.random() < 0.5 else None,
            graphics=random.random() < 0.03,
        )
        self._jobs.append(job)
        for each in rows:
            self._occupy(each, job)

    def _occupy(self, row: int, job: Job) -> None:
        self._job_of[row] = job
        self._gpus["memory_used_mib"][row] = job.memory
        if row in self._usable:
            self._gpus["idle_since"][row] = job.idle_since
            self._gpus["activity"][row] = "working" if job.level else "quiet"
            self._gpus["utilization_percent"][row] = job.level
            self._settle(row)

    def _end(self, job: Job, now: float) -> None:
        self._jobs.remove(job)
        for row in job.rows:
            del self._job_of[row]
            self._gpus["memory_used_mib"][row] = self._random.randint(1, 4)
            if row in self._usable:
                self._gpus["utilization_percent"][row] = 0
                self._gpus["idle_since"][row] = int(now)
                self._gpus["stalled_since"][row] = None
                self._settle(row)

    def _settle(self, row: int) -> None:
        """Set temperature, power and clock to what they reach at the current utilization."""
        work = self._gpus["utilization_percent"][row]
        self._gpus["power_watts"][row] = int(self._model.power_at(work))
        self._gpus["temperature_celsius"][row] = self._final_celsius(row, work)
        self._gpus["sm_clock_mhz"][row] = self._model.sm_clock if work else IDLE_SM_CLOCK_MHZ

    def _final_celsius(self, row: int, work: int) -> int:
        """The temperature that a GPU settles at; a throttled one is near its limit."""
        is_hot = bool(self._gpus["throttle"][row])
        return self._model.slowdown - 1 if is_hot else 31 + 42 * work // 100

    def _drift(self, row: int) -> None:
        """Move the readings of a GPU towards what its job demands."""
        random, gpus = self._random.random, self._gpus
        work = self._drift_work(row)
        gpus["power_watts"][row] = int(self._model.power_at(work) + random() * 4)
        if random() < 0.4:
            final, old = self._final_celsius(row, work), gpus["temperature_celsius"][row]
            gpus["temperature_celsius"][row] = old + (final > old) - (final < old)
        if gpus["fan_percent"][row] is not None:
            gpus["fan_percent"][row] = 30 + work // 2

    def _drift_work(self, row: int) -> int:
        """Move utilization and memory; return the utilization that power and heat follow."""
        random, gpus = self._random.random, self._gpus
        job = self._job_of.get(row)
        if job is None or not job.level:
            return 0
        if job.is_stalled:
            gpus["utilization_percent"][row] = 100
            gpus["memory_controller_utilization_percent"][row] = 0
            return STALLED_WORK
        old: int = gpus["utilization_percent"][row]
        work = old + round((job.level - old) * 0.3 + random() * 14 - 7)
        work = min(100, max(1, work))
        gpus["utilization_percent"][row] = work
        gpus["memory_controller_utilization_percent"][row] = work * 2 // 3
        if random() < 0.1:
            used = job.memory + int(random() * 64)
            gpus["memory_used_mib"][row] = min(used, gpus["memory_total_mib"][row])
        return work
