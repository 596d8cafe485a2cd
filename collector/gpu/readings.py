"""What one sample reads from the driver: a row per GPU, MIG slice and process on a GPU.

They are tuples: a frozen dataclass of twenty fields takes three times as long to make, for each
GPU every second, and a millisecond to define at each start. The module `dataclasses` alone keeps
1.2 MB, so nothing that a collector loads is a dataclass.
"""

from typing import Literal, NamedTuple

from gpu_monitor.collector.findings import Finding

State = Literal["ok", "lost", "asleep", "error"]
MemoryKind = Literal["device", "unified", "numa"]
MigMode = Literal["enabled", "disabled"]
UseType = Literal["C", "G", "C+G"]


class Use(NamedTuple):
    """One process on one GPU, as the driver lists it.

    `pid` is the host's, also for a process in a container. `memory_bytes` is None where the driver
    does not report it. `sm_utilization_percent` is the process's share of the GPU's time over the
    last two seconds at most; None where the driver does not report it. `mps` is "client" for a
    client of MPS, by the driver's list of those.
    """

    pid: int
    type: UseType
    memory_bytes: int | None = None
    sm_utilization_percent: int | None = None
    mps: Literal["client"] | None = None


class Identity(NamedTuple):
    """What a GPU or MIG slice is; None where it is not known.

    `number` is NVML's index, a slice's index within its GPU. `pci_bus_id` is like
    `00000000:3B:00.0`.
    """

    number: int
    uuid: str | None = None
    name: str | None = None
    pci_bus_id: str | None = None
    mig_profile: str | None = None
    slowdown_celsius: int | None = None


class GpuReading(NamedTuple):
    """One GPU or MIG slice at one moment; None is not known, 0 is zero.

    `reason` says why `state` is not ok. `uses_unread` says why the compute processes could not be
    listed; `uses` lacks them then. `carried` means that the utilization is that of an earlier
    reading.
    `findings` are what is known to be wrong with the GPU. Memory is in bytes, power in watts,
    clocks in MHz; energy counts from when the driver was loaded. `process_memory_bytes` is the sum
    over the processes where `memory_kind` is unified or numa: there the memory in use does not
    tell what they hold.
    """

    identity: Identity
    state: State = "ok"
    reason: str | None = None
    mig_mode: MigMode | None = None
    compute_mode: str | None = None
    memory_kind: MemoryKind | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    process_memory_bytes: int | None = None
    utilization_percent: int | None = None
    memory_controller_utilization_percent: int | None = None
    temperature_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    fan_percent: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    energy_joules: int | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlinks_up: int | None = None
    throttle: tuple[str, ...] | None = None
    uses: tuple[Use, ...] = ()
    uses_unread: str | None = None
    slices: tuple["GpuReading", ...] = ()
    findings: tuple[Finding, ...] = ()
    carried: bool = False


class DriverReading(NamedTuple):
    """Every GPU of the host as far as it could be read.

    `findings` are about the driver or about several GPUs; those of one GPU are with its reading.
    """

    gpus: tuple[GpuReading, ...] = ()
    findings: tuple[Finding, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
