"""What simulated hosts are made of: GPU models, users, programs and first readings."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gpu_monitor.wire.document import GPU_COLUMNS, Scalars, Table

MIB_PER_GIB = 1024
DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model; memory in MiB, power in watts, slowdown temperature in °C, clocks in MHz.

    `nvlinks` is None for one without NVLink.
    """

    name: str
    memory: int
    power_limit: int
    power_idle: int
    slowdown: int
    sm_clock: int
    memory_clock: int
    has_fan: bool = False
    pcie_generation: int = 4
    nvlinks: int | None = None

    def power_at(self, work: float) -> float:
        """Watts at this utilization, in percent."""
        return self.power_idle + (self.power_limit - self.power_idle) * 0.9 * work / 100


MODELS = (
    Model("NVIDIA H100 80GB HBM3", 81559, 700, 71, 90, 1980, 2619, False, 5, 18),
    Model("NVIDIA A100-SXM4-80GB", 81920, 400, 58, 92, 1410, 1593, False, 4, 12),
    Model("NVIDIA L40S", 46068, 350, 34, 92, 2520, 9001),
    Model("NVIDIA RTX A6000", 49140, 300, 22, 95, 2100, 8001, has_fan=True),
    Model("NVIDIA GeForce RTX 4090", 24564, 450, 18, 90, 2520, 10501, has_fan=True),
)

DEMO_USERS = (
    *("alice", "bob", "carmen", "dmitri", "elif", "farid", "grace", "hiroshi", "ines", "jonas"),
    *("katya", "lucia", "maria", "nadia", "oskar", "priya", "quentin", "rosa", "samir", "tomoko"),
    *("ulrike", "victor", "wei", "xenia", "yusuf", "zoe"),
)
FIRST_UID = 20001
DEMO_GROUPS = ("physics", "vision", "language", "biology")

PROGRAMS = (
    *("python", "python", "python", "python3", "torchrun", "vllm", "ollama", "gmx_mpi", "namd3"),
    *("lmp", "julia", "blender", "jupyter-lab"),
)

MIG_PROFILES = (("3g.40gb", 40448), ("2g.20gb", 20096), ("1g.10gb", 9856), ("1g.10gb", 9856))
"""How the A100 of a host with MIG is divided: profile and memory (MiB)."""


def build_gpus(model: Model, count: int, random: Random, now: float) -> Table:
    """The table of `count` free GPUs."""
    gpus: Table = {column: [None] * count for column in GPU_COLUMNS}
    gpus["index"] = list(range(count))
    gpus["uuid"] = [f"GPU-{_uuid(random)}" for _ in range(count)]
    gpus["name"] = [model.name] * count
    gpus["pci_bus_id"] = [f"00000000:{0x1A + 0x0F * row:02X}:00.0" for row in range(count)]
    gpus["state"] = ["ok"] * count
    gpus["mig_mode"] = ["disabled"] * count
    gpus["compute_mode"] = ["default"] * count
    gpus["memory_kind"] = ["device"] * count
    gpus["memory_total_mib"] = [model.memory] * count
    gpus["memory_used_mib"] = [random.randint(1, 4) for _ in range(count)]
    gpus["utilization_percent"] = [0] * count
    gpus["memory_controller_utilization_percent"] = [0] * count
    gpus["temperature_celsius"] = [random.randint(27, 36) for _ in range(count)]
    gpus["slowdown_celsius"] = [model.slowdown] * count
    gpus["power_watts"] = [model.power_idle + random.randint(-3, 3) for _ in range(count)]
    gpus["power_limit_watts"] = [model.power_limit] * count
    gpus["fan_percent"] = [30 if model.has_fan else None] * count
    gpus["sm_clock_mhz"] = [210] * count
    gpus["memory_clock_mhz"] = [model.memory_clock] * count
    gpus["energy_joules"] = [model.power_idle * DAY_SECONDS * (3 + row) for row in range(count)]
    gpus["pcie_generation"] = [model.pcie_generation] * count
    gpus["pcie_width"] = [16] * count
    gpus["nvlinks_up"] = [model.nvlinks] * count
    gpus["throttle"] = [[] for _ in range(count)]
    gpus["health"] = ["ok"] * count
    gpus["health_reasons"] = [[] for _ in range(count)]
    gpus["activity"] = ["quiet"] * count
    gpus["idle_since"] = [int(now) - random.randint(60, 40_000) for _ in range(count)]
    return gpus


def drop_out(gpus: Table, row: int, state: str, reason: str, since: float) -> None:
    """The GPU keeps its row and identity; all readings become unknown."""
    kept = {"index", "uuid", "name", "pci_bus_id", "parent", "mig_profile", "memory_kind"}
    for column in gpus.keys() - kept:
        gpus[column][row] = None
    gpus["state"][row], gpus["reason"][row], gpus["state_since"][row] = state, reason, since


def use_energy(gpus: Table, seconds: int) -> None:
    """Count what the GPUs have used in so many seconds at their present power."""
    gpus["energy_joules"] = [
        None if joules is None or watts is None else joules + watts * seconds
        for joules, watts in zip(gpus["energy_joules"], gpus["power_watts"], strict=True)
    ]


def divide(gpus: Table, row: int, random: Random) -> None:
    """Divide a GPU by MIG: its slices become rows of their own after all others."""
    gpus["utilization_percent"][row] = gpus["memory_controller_utilization_percent"][row] = None
    gpus["idle_since"][row] = None
    gpus["mig_mode"][row], gpus["activity"][row] = "enabled", "unmeasured"
    for index, (profile, memory) in enumerate(MIG_PROFILES):
        for column, values in gpus.items():
            values.append([] if column in ("throttle", "health_reasons") else None)
        gpus["index"][-1] = index
        gpus["uuid"][-1] = f"MIG-{_uuid(random)}"
        gpus["name"][-1] = f"{gpus['name'][row]} MIG {profile}"
        gpus["pci_bus_id"][-1] = gpus["pci_bus_id"][row]
        gpus["state"][-1], gpus["memory_kind"][-1] = "ok", "device"
        gpus["activity"][-1] = "unmeasured"
        gpus["parent"][-1], gpus["mig_profile"][-1] = row, profile
        gpus["memory_total_mib"][-1], gpus["memory_used_mib"][-1] = memory, 12


def build_system(name: str, gpus: int, random: Random, now: float) -> Scalars:
    """The first readings of a host with that many GPUs."""
    memory = 256 * MIB_PER_GIB * max(1, gpus // 2)
    return {
        "hostname": f"{name}.cluster.example",
        "os": "Ubuntu 24.04.3 LTS",
        "kernel": "6.8.0-71-generic",
        "driver_version": "570.172.08",
        "cuda_version": "12.8",
        "booted_at": round(now - random.uniform(2, 90) * 24 * 3600),
        "cpu_count": 16 * max(1, gpus),
        "memory_total_mib": memory,
        "swap_total_mib": 8191,
        "cpu_percent": random.randint(2, 60),
        "memory_used_mib": int(memory * random.uniform(0.1, 0.6)),
        "load_1m": 4.0,
        "swap_used_mib": 0,
        "network_receive_kib_per_second": 800,
        "network_send_kib_per_second": 300,
    }


def drift_system(system: Scalars, random: Callable[[], float]) -> None:
    """Change the readings as in one second; `random` returns numbers from 0 to 1."""
    cpu = min(100, max(1, system["cpu_percent"] + round(random() * 6 - 3)))
    system["cpu_percent"] = cpu
    system["load_1m"] = round(cpu * system["cpu_count"] / 100, 2)
    system["memory_used_mib"] += round(random() * 200 - 100)
    system["network_receive_kib_per_second"] = int(200 + random() * 90_000)
    system["network_send_kib_per_second"] = int(100 + random() * 20_000)


def _uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
