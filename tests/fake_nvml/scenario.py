"""A scenario for the fake NVML, as Python values and as the text file the library reads.

A value is a number, N_A (the call answers "not supported"), `wave(low, high)` (it swings by itself)
or `error("GPU_IS_LOST")` (the call answers with that NVML error). A field left None is not written:
the library uses its default (README.md lists them). Units are in the names, as in the file.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

Value: TypeAlias = int | float | str
_Section = TypeVar("_Section", "Gpu", "Mig")
N_A = "N/A"


def wave(low: float, high: float, period_seconds: float = 60) -> str:
    """A value that swings from low to high and back once per period, with a phase per GPU."""
    return f"{low}..{high}/{period_seconds}"


def error(name: str | int) -> str:
    """Use in place of a value: its call fails with this NVML error."""
    return f"error:{name}"


@dataclass(frozen=True)
class Process:
    """A process on a GPU.

    pid: "self" is the process that calls NVML, "hidden" is listed as pid 0. memory_mib: None if
    the driver has no value. ahead_seconds: its samples are stamped this much after the driver's
    clock.
    """

    pid: int | str
    memory_mib: Value | None = 1024
    type: str = "C"
    """C, G, C+G, or M for a client of MPS."""
    sm_utilization_percent: Value | None = 0
    """None: the driver has no sample for this process."""
    gpu_instance: int | None = None
    compute_instance: int | None = None
    """Ids of a slice; they default to those of the Mig that lists the process."""
    ahead_seconds: int | None = None

    def line(self) -> str:
        words = [f"pid={self.pid}", f"type={self.type}"]
        for name, value in (
            ("memory_mib", self.memory_mib),
            ("sm_utilization_percent", self.sm_utilization_percent),
        ):
            words.append(f"{name}={'none' if value is None else value}")
        for name, number in (
            ("gpu_instance", self.gpu_instance),
            ("compute_instance", self.compute_instance),
            ("ahead_seconds", self.ahead_seconds),
        ):
            if number is not None:
                words.append(f"{name}={number}")
        return "process = " + " ".join(words)


@dataclass(frozen=True)
class Mig:
    """A slice of a GPU."""

    profile: str | None = None
    uuid: str | None = None
    memory_total_mib: Value | None = None
    memory_used_mib: Value | None = None
    utilization_percent: Value | None = None
    gpu_instance: int | None = None
    compute_instance: int | None = None
    slices: int | None = None
    compute_slices: int | None = None
    multiprocessors: int | None = None
    processes: Sequence[Process] = ()


@dataclass(frozen=True)
class Gpu:
    """A GPU. `fields`: values of nvmlDeviceGetFieldValues by id; `migs`: its slices in order, or
    by index with gaps.

    `xids`: its critical errors so far; adding one makes an event.
    """

    name: str | None = None
    uuid: str | None = None
    pci_bus_id: str | None = None
    serial: str | None = None
    vbios: str | None = None
    part_number: str | None = None
    lost: bool = False
    memory_total_mib: Value | None = None
    memory_used_mib: Value | None = None
    memory_reserved_mib: Value | None = None
    utilization_percent: Value | None = None
    memory_controller_utilization_percent: Value | None = None
    encoder_percent: Value | None = None
    decoder_percent: Value | None = None
    temperature_celsius: Value | None = None
    memory_temperature_celsius: Value | None = None
    margin_celsius: Value | None = None
    shutdown_celsius: Value | None = None
    slowdown_celsius: Value | None = None
    memory_max_celsius: Value | None = None
    gpu_max_celsius: Value | None = None
    power_watts: Value | None = None
    power_limit_watts: Value | None = None
    power_management_limit_watts: Value | None = None
    power_default_limit_watts: Value | None = None
    power_min_limit_watts: Value | None = None
    power_max_limit_watts: Value | None = None
    energy_joules: Value | None = None
    fan_percent: Value | None = None
    fans: Value | None = None
    sm_clock_mhz: Value | None = None
    graphics_clock_mhz: Value | None = None
    memory_clock_mhz: Value | None = None
    video_clock_mhz: Value | None = None
    max_sm_clock_mhz: Value | None = None
    max_memory_clock_mhz: Value | None = None
    throttle_reasons: Value | None = None
    performance_state: Value | None = None
    persistence: Value | None = None
    compute_mode: Value | None = None
    numa_node: Value | None = None
    display_active: Value | None = None
    ecc: Value | None = None
    ecc_corrected: Value | None = None
    ecc_uncorrected: Value | None = None
    remapped_corrected: Value | None = None
    remapped_uncorrected: Value | None = None
    remapped_pending: Value | None = None
    remapped_failed: Value | None = None
    retired_pending: Value | None = None
    mig_mode: Value | None = None
    gpm: Value | None = None
    minor: Value | None = None
    compute_capability: Value | None = None
    architecture: Value | None = None
    brand: Value | None = None
    cores: Value | None = None
    bus_width: Value | None = None
    pcie_generation: Value | None = None
    pcie_width: Value | None = None
    pcie_max_generation: Value | None = None
    pcie_max_width: Value | None = None
    nvlinks: Value | None = None
    nvlinks_up: Value | None = None
    pcie_tx_kib: Value | None = None
    pcie_rx_kib: Value | None = None
    fields: Mapping[int, Value] = field(default_factory=dict)
    xids: Sequence[int] = ()
    processes: Sequence[Process] = ()
    migs: Sequence[Mig] | Mapping[int, Mig] = ()


@dataclass(frozen=True)
class Driver:
    """The driver. init_error: nvmlInit fails with this error.

    A new generation makes every call fail with UNINITIALIZED until the next nvmlInit.
    process_row_bytes: 24 by the header; some drivers write rows of 32. clock_offset_seconds: how
    far the driver's clock, which stamps samples, is from this machine's. other_event_handles:
    events name a GPU by another handle than the one it was registered with.
    """

    version: str | None = None
    nvml_version: str | None = None
    cuda_version: str | None = None
    init_error: str | int | None = None
    generation: int | None = None
    process_row_bytes: int | None = None
    clock_offset_seconds: int | None = None
    other_event_handles: bool = False


@dataclass(frozen=True)
class Call:
    """A rule for calls of a function; `name` may end in *, and the first match applies.

    gpu: only calls for that GPU; mig: only for that slice, or "none" for physical GPUs.
    """

    name: str
    error: str | int | None = None
    hang: bool = False
    delay_ms: int | None = None
    gpu: int | None = None
    mig: int | str | None = None


@dataclass(frozen=True)
class Scenario:
    """A whole machine. A mapping of GPUs by section number may leave gaps."""

    gpus: Sequence[Gpu] | Mapping[int, Gpu] = ()
    driver: Driver = Driver()
    calls: Sequence[Call] = ()

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def write(self, path: Path) -> None:
        """Replace the file in one step, so that a reader sees either the old or the new one."""
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.text())
        os.replace(name, path)

    def _lines(self) -> Iterator[str]:
        yield "[driver]"
        yield from _keys(self.driver)
        for number, gpu in _by_number(self.gpus):
            yield f"[gpu {number}]"
            yield from _keys(gpu)
            yield from (f"field_{id} = {value}" for id, value in gpu.fields.items())
            yield from (f"xid = {xid}" for xid in gpu.xids)
            yield from (process.line() for process in gpu.processes)
            for index, mig in _by_number(gpu.migs):
                yield f"[gpu {number} mig {index}]"
                yield from _keys(mig)
                yield from (process.line() for process in mig.processes)
        for call in self.calls:
            yield f"[call {call.name}]"
            yield from (line for line in _keys(call) if not line.startswith("name "))


def _by_number(
    sections: Sequence[_Section] | Mapping[int, _Section],
) -> Iterable[tuple[int, _Section]]:
    return sections.items() if isinstance(sections, Mapping) else enumerate(sections)


def _keys(section: Driver | Gpu | Mig | Call) -> Iterator[str]:
    for each in fields(section):
        value: Any = getattr(section, each.name)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if isinstance(value, str | int | float):
            yield f"{each.name} = {value}"
