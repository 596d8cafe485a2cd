"""A simulated host: jobs come and go on its GPUs, and its readings follow them."""

from dataclasses import dataclass
from random import Random
from time import gmtime, strftime
from typing import NamedTuple

from gpu_monitor.demo.hardware import (
    FIRST_UID,
    HEALTH_REASONS,
    MODELS,
    PROGRAMS,
    USERS,
    build_gpus,
    build_system,
    cut,
    lose,
    move_system,
)
from gpu_monitor.wire import __version__
from gpu_monitor.wire.document import PROCESS_COLUMNS, VERSION, Snapshot, Table

ODD_HOSTS = ("usual", "lost", "asleep", "hot", "mig", "problems", "silent", "free", "held")
"""What the first hosts of a fleet show, one each; all others are usual."""
SILENT_AFTER_SECONDS = 20.0
UNHEALTHY_ONE_OF = 50
"""So many usual hosts have one GPU that something is wrong with."""
WAITING_WORK = 12
"""What a GPU that spins draws and heats as one that works so much, in percent."""
WAITING_ONE_OF = 60
"""So many usual hosts have one GPU that is busy all the time at low power."""
HOUR = 3600.0
LEVELS = (35, 62, 80, 93, 98, 99)
"""The work that jobs aim at, in percent."""
JOB_SECONDS = 600.0
"""How long a job lasts, on the average, beyond the ten seconds that each does."""
START_CHANCE = 0.004
"""That a GPU without a job gets one, each second."""


@dataclass(slots=True)
class Job:
    """A user's processes on some GPUs, one on each. `level` is the work it aims at, in percent.

    `until` is when it ends; `idle_since` is set for one that only holds its memory, `waits` for one
    that spins and does nothing.
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
    waits: bool = False


class Stretch(NamedTuple):
    """What a GPU does from `since` (unix seconds) on: its work in percent, its memory in MiB."""

    since: int
    level: int
    memory: int


class SimulatedHost:
    """Readings of one host that does not exist; the same seed gives the same readings."""

    def __init__(self, number: int, gpus: int, now: float, seed: int = 0) -> None:
        self.name = f"node{number + 1:02d}"
        self.kind = ODD_HOSTS[number] if number < len(ODD_HOSTS) else "usual"
        self.sequence = 0
        self._random = Random(f"{seed} {number}")
        self._born_at = now
        self.model = MODELS[1 if self.kind == "mig" else number % len(MODELS)]
        self.gpus = build_gpus(self.model, gpus, self._random, now)
        self._problems: list[str] = []
        self._make_odd(number, now)
        self._usable = [row for row in range(gpus) if self._can_work(row)]
        self._slices = list(range(gpus, len(self.gpus["index"])))
        self._jobs: list[Job] = []
        self._job_of: dict[int, Job] = {}
        self._start_first_jobs(number, now)
        self._system = build_system(self.name, gpus, self._random, now)
        self._processes: Table = {}
        self._rebuild_processes()
        self._run_id = f"{self._random.getrandbits(64):016x}"
        self._boot_id = f"{self._random.getrandbits(128):032x}"

    def is_silent(self, now: float) -> bool:
        """Whether it has stopped to report, as a host that has lost its network."""
        return self.kind == "silent" and now - self._born_at > SILENT_AFTER_SECONDS

    def step(self, now: float) -> None:
        """What a second changes: three GPUs of four in one to four readings, now and then a job."""
        changed = False
        for row in self._usable + self._slices:
            job = self._job_of.get(row)
            if job is not None and job.until <= now:
                self._end(job, now)
                changed = True
            elif job is None and self.kind != "free" and self._random.random() < START_CHANCE:
                self._start(row, now, started_at=now)
                changed = True
        if changed:
            self._rebuild_processes()
        for row in self._usable:
            if self._random.random() < 0.75:
                self._move(row)
        for position, row in enumerate(self._processes["gpu"]):
            if self._processes["idle_since"][position] is None:
                self._processes["sm_utilization_percent"][position] = self.gpus[
                    "utilization_percent"
                ][row]
        move_system(self._system, self._random.random)

    def snapshot(self, now: float, boottime: float, interval: float) -> Snapshot:
        """What a collector would push now. The tables are the host's own: pack it before `step`."""
        self.sequence += 1
        return {
            "version": VERSION,
            "name": self.name,
            "boot_id": self._boot_id,
            "run_id": self._run_id,
            "sequence": self.sequence,
            "interval_seconds": interval,
            "sampled_boottime": boottime,
            "sampled_at": now,
            "problems": self._problems,
            "system": self._system,
            "gpus": self.gpus,
            "processes": self._processes,
            "disks": {
                "mount": ["/", "/scratch"],
                "total_mib": [452_000, 7_300_000],
                "used_mib": [118_000, 5_110_000],
            },
            "collector": {
                "version": __version__,
                "cpu_percent": 0.2,
                "memory_mib": 25,
                "sample_seconds": 0.004,
            },
        }

    def lately(self) -> dict[int, list[Stretch]]:
        """By row, what a GPU that can work does since its job came, or since it has none; the
        newest stretch first.
        """
        return {row: self._lately(row) for row in self._usable}

    def _lately(self, row: int) -> list[Stretch]:
        job = self._job_of.get(row)
        if job is None:
            return [Stretch(self.gpus["idle_since"][row], 0, self.gpus["memory_used_mib"][row])]
        if job.idle_since is None:
            return [Stretch(job.started_at, job.level, job.memory)]
        worked = Stretch(job.started_at, max(LEVELS), job.memory)
        return [Stretch(job.idle_since, 0, job.memory), worked]

    def _make_odd(self, number: int, now: float) -> None:
        last = len(self.gpus["index"]) - 1
        if self.kind == "lost":
            lose(
                self.gpus,
                last,
                "lost",
                "fell off the bus (GPU is lost): reset or reboot needed",
                int(now - HOUR),
            )
            self._problems.append(f"GPU {last} is lost: fell off the bus, reset or reboot needed")
            at = strftime("%Y-%m-%d %H:%M UTC", gmtime(now - HOUR))
            self._ail(last, f"Xid 79 (the GPU fell off the bus: reset or reboot needed) at {at}")
        elif self.kind == "asleep":
            memory = self.gpus["memory_total_mib"][last]
            lose(self.gpus, last, "asleep", "asleep to save power", int(now - 5 * HOUR))
            self.gpus["memory_total_mib"][last] = memory
        elif self.kind == "hot":
            self.gpus["throttle"][0] = ["software thermal slowdown"]
        elif self.kind == "mig":
            cut(self.gpus, 0, self._random)
        elif self.kind == "problems":
            self._ail(0, HEALTH_REASONS[0])
            self._problems.append(
                "processes of GPU 1 not readable: not supported by this GPU or driver"
            )
        elif (number + 1) % UNHEALTHY_ONE_OF == 0:
            turn = number // UNHEALTHY_ONE_OF
            self._ail(turn % (last + 1), HEALTH_REASONS[turn % len(HEALTH_REASONS)])

    def _ail(self, row: int, words: str) -> None:
        failed = self.gpus["state"][row] == "lost" or words == HEALTH_REASONS[-1]
        self.gpus["health"][row] = "failed" if failed else "degraded"
        self.gpus["health_reasons"][row] = [words]
        self._problems.append(f"GPU {row}: {words}")

    def _can_work(self, row: int) -> bool:
        is_cut = self.kind == "mig" and row == 0
        return self.gpus["state"][row] == "ok" and not is_cut

    def _start_first_jobs(self, number: int, now: float) -> None:
        for row in self._usable + self._slices:
            if self.kind == "free" or row in self._job_of or self._random.random() < 0.2:
                continue
            started_at = now - self._random.expovariate(1 / (6 * HOUR)) - 60
            self._start(row, now, started_at, idle=self._random.random() < 0.12)
        if self.kind == "problems" or (self.kind == "usual" and number % WAITING_ONE_OF == 30):
            self._let_one_wait(now)
        if self.kind == "held" and self._usable:
            self._end_all(now)
            self._start(self._usable[0], now, now - 31 * HOUR, idle=True, wide=True)

    def _let_one_wait(self, now: float) -> None:
        """Of the jobs that have worked for a while, one has come to a stop half an hour ago."""
        old = [job for job in self._jobs if job.level and now - job.started_at > HOUR]
        for job in old[:1]:
            job.level, job.waits, job.until = max(LEVELS), True, now + 12 * HOUR
            for row in job.rows:
                self.gpus["stalled_since"][row] = int(now - HOUR / 2)
                self._move(row)

    def _start(
        self, row: int, now: float, started_at: float, idle: bool = False, wide: bool = False
    ) -> None:
        random = self._random
        rows = [row]
        if row in self._usable and (wide or random.random() < 0.35):
            free = [other for other in self._usable if other not in self._job_of and other != row]
            rows += free if wide else free[: random.choice((1, 3))]
        total = min(self.gpus["memory_total_mib"][each] for each in rows)
        job = Job(
            rows=rows,
            user=random.randrange(len(USERS)),
            program=random.choice(PROGRAMS),
            pid=random.randint(2_000, 4_000_000),
            memory=int(total * random.uniform(0.15, 0.96)),
            level=0 if idle else random.choice(LEVELS),
            started_at=int(started_at),
            until=now + random.expovariate(1 / (12 * HOUR if idle else JOB_SECONDS)) + 10,
            idle_since=int(started_at + random.uniform(0.1, 0.6) * (now - started_at))
            if idle
            else None,
            container=f"{random.getrandbits(48):012x}" if random.random() < 0.3 else None,
            slurm=str(random.randint(180_000, 199_999)) if random.random() < 0.5 else None,
            graphics=random.random() < 0.03,
        )
        self._jobs.append(job)
        for each in rows:
            self._job_of[each] = job
            self.gpus["memory_used_mib"][each] = job.memory
            if each in self._usable:
                self.gpus["idle_since"][each] = job.idle_since
                self.gpus["utilization_percent"][each] = job.level
                self._settle(each)

    def _settle(self, row: int) -> None:
        """Temperature and power where they end up for this work."""
        work = self.gpus["utilization_percent"][row]
        self.gpus["power_watts"][row] = int(self.model.power_at(work))
        self.gpus["temperature_celsius"][row] = self._warmth(row, work)
        self.gpus["sm_clock_mhz"][row] = self.model.sm_clock if work else 210

    def _warmth(self, row: int, work: int) -> int:
        """The temperature that a GPU comes to; one that slows itself down does so for a reason."""
        return self.model.slowdown - 1 if self.gpus["throttle"][row] else 31 + 42 * work // 100

    def _end(self, job: Job, now: float) -> None:
        self._jobs.remove(job)
        for row in job.rows:
            del self._job_of[row]
            self.gpus["memory_used_mib"][row] = self._random.randint(1, 4)
            if row in self._usable:
                self.gpus["utilization_percent"][row] = 0
                self.gpus["idle_since"][row] = int(now)
                self.gpus["stalled_since"][row] = None
                self._settle(row)

    def _end_all(self, now: float) -> None:
        for job in list(self._jobs):
            self._end(job, now)

    def _move(self, row: int) -> None:
        """One reading to four of a GPU drift towards what its job asks for."""
        random, gpus = self._random.random, self.gpus
        job = self._job_of.get(row)
        work = 0
        if job is not None and job.waits:
            gpus["utilization_percent"][row], gpus["memory_controller_utilization_percent"][row] = (
                100,
                0,
            )
            work = WAITING_WORK
        elif job is not None and job.level:
            work = gpus["utilization_percent"][row]
            work += round((job.level - work) * 0.3 + random() * 14 - 7)
            gpus["utilization_percent"][row] = work = min(100, max(1, work))
            gpus["memory_controller_utilization_percent"][row] = work * 2 // 3
            if random() < 0.1:
                used = job.memory + int(random() * 64)
                gpus["memory_used_mib"][row] = min(used, gpus["memory_total_mib"][row])
        gpus["power_watts"][row] = int(self.model.power_at(work) + random() * 4)
        if random() < 0.4:
            warm, old = self._warmth(row, work), gpus["temperature_celsius"][row]
            gpus["temperature_celsius"][row] = old + (warm > old) - (warm < old)
        if gpus["fan_percent"][row] is not None:
            gpus["fan_percent"][row] = 30 + work // 2

    def _rebuild_processes(self) -> None:
        table: Table = {column: [] for column in PROCESS_COLUMNS}
        for job in self._jobs:
            for offset, row in enumerate(job.rows):
                values = {
                    "gpu": row,
                    "pid": job.pid + offset,
                    "user": USERS[job.user],
                    "uid": FIRST_UID + job.user,
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
                }
                for column, value in values.items():
                    table[column].append(value)
        self._processes = table
        for row in {self.gpus["parent"][each] for each in self._slices}:
            used = sum(self.gpus["memory_used_mib"][each] for each in self._slices)
            self.gpus["memory_used_mib"][row] = used
