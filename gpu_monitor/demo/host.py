"""A simulated host: one that does not exist, with plausible readings."""

from collections.abc import Iterator
from random import Random

from gpu_monitor.demo.faults import (
    ILLNESSES,
    Fault,
    finding_table,
    full_disk,
    hot_gpu,
    judge_health,
    lost_gpu,
    narrow_pcie,
    stalled_gpus,
    unread_processes,
)
from gpu_monitor.demo.hardware import (
    MODELS,
    build_gpus,
    build_system,
    divide,
    drift_system,
    drop_out,
    use_energy,
)
from gpu_monitor.demo.jobs import HOUR_SECONDS, Jobs, Phase
from gpu_monitor.wire import __version__
from gpu_monitor.wire.document import VERSION, Snapshot, Table

SPECIAL_HOSTS = (
    *("ordinary", "lost", "asleep", "hot", "mig", "problems", "silent", "free", "held"),
)
"""What the first hosts of a fleet show, one each; all others are ordinary."""
SILENT_AFTER_SECONDS = 20.0
UNHEALTHY_PERIOD = 50
"""Every 50th host of a large fleet has an unhealthy GPU."""
ENERGY_SECONDS = 10
"""How often the energy counters move on, as collectors read them."""
NARROW_ROW, NARROW_WIDTH = 2, 8
"""The GPU of the host with problems whose PCIe link is narrow, and its lanes."""
UNREAD_ROW = 1
"""The GPU of the host with problems whose processes cannot be read."""
STALLED_PERIOD, STALLED_OFFSET = 60, 30
"""Every 60th host, from the 31st on, has a GPU that is busy at low power."""


class SimulatedHost:
    """Readings of one host; the same number and seed give the same readings."""

    def __init__(self, number: int, gpus: int, now: float, seed: int = 0) -> None:
        self.name = f"node{number + 1:02d}"
        self.kind = SPECIAL_HOSTS[number] if number < len(SPECIAL_HOSTS) else "ordinary"
        self.sequence = 0
        self._steps = 0
        self._random = Random(f"{seed} {number}")
        self._born_at = now
        self.model = MODELS[1 if self.kind == "mig" else number % len(MODELS)]
        self.gpus = build_gpus(self.model, gpus, self._random, now)
        self._make_special(now)
        self._faults = list(self._lasting_faults(number, int(now)))
        judge_health(self.gpus, self._faults)
        usable = [row for row in range(gpus) if self._can_work(row)]
        slices = list(range(gpus, len(self.gpus["index"])))
        self._jobs = Jobs(self.gpus, self.model, self._random, usable, slices)
        self._start_jobs(number, now, bool(usable))
        self._system = build_system(self.name, gpus, self._random, now)
        self._processes: Table = {}
        self._rebuild_processes()
        self._run_id = f"{self._random.getrandbits(64):016x}"
        self._boot_id = f"{self._random.getrandbits(128):032x}"

    def is_silent(self, now: float) -> bool:
        """Whether it has stopped reporting, like a host that has lost its network."""
        return self.kind == "silent" and now - self._born_at > SILENT_AFTER_SECONDS

    def step(self, now: float) -> None:
        """Change the readings as in one second: most GPUs a little, now and then a job."""
        if self._jobs.step(now, starts=self.kind != "free"):
            self._rebuild_processes()
        self._jobs.drift()
        self._steps += 1
        if self._steps % ENERGY_SECONDS == 0:
            use_energy(self.gpus, ENERGY_SECONDS)
        utilization = self.gpus["utilization_percent"]
        for position, row in enumerate(self._processes["gpu"]):
            if self._processes["idle_since"][position] is None:
                self._processes["sm_utilization_percent"][position] = utilization[row]
        drift_system(self._system, self._random.random)

    def snapshot(self, now: float, boottime: float, interval: float) -> Snapshot:
        """What a collector would push now. Pack it before the next `step`, which changes it."""
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
            "system": self._system,
            "gpus": self.gpus,
            "processes": self._processes,
            "disks": {
                "mount": ["/", "/scratch"],
                "total_mib": [452_000, 7_300_000],
                "used_mib": [118_000, 7_105_000 if self.kind == "problems" else 5_110_000],
            },
            "findings": finding_table([*self._faults, *stalled_gpus(self.gpus)]),
            "collector": {
                "version": __version__,
                "cpu_percent": 0.2,
                "memory_mib": 25,
                "sample_seconds": 0.004,
            },
        }

    def recent_phases(self) -> dict[int, list[Phase]]:
        """See `Jobs.recent_phases`."""
        return self._jobs.recent_phases()

    def _make_special(self, now: float) -> None:
        last = len(self.gpus["index"]) - 1
        if self.kind == "lost":
            reason = "fell off the bus (GPU is lost): reset the GPU or reboot"
            drop_out(self.gpus, last, "lost", reason, int(now - HOUR_SECONDS))
        elif self.kind == "asleep":
            memory = self.gpus["memory_total_mib"][last]
            drop_out(self.gpus, last, "asleep", "asleep to save power", int(now - 5 * HOUR_SECONDS))
            self.gpus["memory_total_mib"][last] = memory
            self.gpus["compute_mode"][0] = "exclusive_process"
        elif self.kind == "hot":
            self.gpus["throttle"][0] = ["software thermal slowdown"]
        elif self.kind == "mig":
            divide(self.gpus, 0, self._random)
        elif self.kind == "problems" and last >= NARROW_ROW:
            self.gpus["pcie_width"][NARROW_ROW] = NARROW_WIDTH

    def _lasting_faults(self, number: int, now: int) -> Iterator[Fault]:
        """Those that are there for as long as the demo runs."""
        rows = len(self.gpus["index"])
        if self.kind == "lost":
            yield lost_gpu(rows - 1, int(now - HOUR_SECONDS))
        elif self.kind == "hot":
            yield hot_gpu(0, self.model.slowdown, now - 7 * 60)
        elif self.kind == "problems":
            yield _ill(0, 0, int(now - 50 * HOUR_SECONDS))
            yield full_disk("/scratch", int(now - 3 * HOUR_SECONDS))
            if rows > NARROW_ROW:
                yield narrow_pcie(NARROW_ROW, NARROW_WIDTH, int(now - 60 * HOUR_SECONDS))
            if rows > UNREAD_ROW:
                yield unread_processes(UNREAD_ROW, int(now - 26 * HOUR_SECONDS))
        elif self.kind == "ordinary" and (number + 1) % UNHEALTHY_PERIOD == 0:
            turn = number // UNHEALTHY_PERIOD
            yield _ill(turn % rows, turn, int(now - 9 * HOUR_SECONDS))

    def _can_work(self, row: int) -> bool:
        is_divided = self.kind == "mig" and row == 0
        return self.gpus["state"][row] == "ok" and not is_divided

    def _start_jobs(self, number: int, now: float, is_usable: bool) -> None:
        if self.kind != "free":
            self._jobs.start_first(now)
        has_stalled = self.kind == "ordinary" and number % STALLED_PERIOD == STALLED_OFFSET
        if self.kind == "problems" or has_stalled:
            self._jobs.stall_one(now)
        if self.kind == "held" and is_usable:
            self._jobs.hold_all(now)

    def _rebuild_processes(self) -> None:
        unread = UNREAD_ROW if self.kind == "problems" else None
        self._processes = self._jobs.processes(unread)
        self._jobs.update_divided()


def _ill(row: int, turn: int, since: int) -> Fault:
    kind, severity, words, advice = ILLNESSES[turn % len(ILLNESSES)]
    return Fault(kind, severity, row, since, words, advice)
