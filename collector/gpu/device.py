"""One GPU: what it is, read once; what it does, read each time, some of it less often."""

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.compute_mode import ComputeMode
from gpu_monitor.collector.gpu.device_memory import DeviceMemory, with_processes
from gpu_monitor.collector.gpu.links import Links
from gpu_monitor.collector.gpu.memory_health import MemoryHealth
from gpu_monitor.collector.gpu.mig import MigSlice
from gpu_monitor.collector.gpu.mig_utilization import MigUtilization
from gpu_monitor.collector.gpu.nvml_errors import (
    LOST,
    NOT_FOUND,
    UNSUPPORTED,
    NvmlError,
)
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.pci import PCI_FOLDER, PciPower, asleep_reading
from gpu_monitor.collector.gpu.processes import (
    WORKING_PERCENT,
    ListedProcess,
    ProcessLists,
    SmShares,
    merge_by_pid,
    slice_failure,
)
from gpu_monitor.collector.gpu.queries import Queries, Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, MigMode, State, Use
from gpu_monitor.collector.gpu.rhythm import Rhythm
from gpu_monitor.collector.gpu.slow_values import SlowValues
from gpu_monitor.collector.gpu.xid import XidEvents, XidLog

MIG_MODE_SECONDS = 10.0
"""How soon a division of the GPU is noticed."""
SLICES_SECONDS = 5.0
"""How soon another division is, and how often the utilization of slices is measured."""


class Device:
    """A GPU as this opening of NVML knows it; for one thread at a time.

    `identity` holds what does not change. Readings come in tiers, for at most seven calls a second
    on average: utilization, memory, power and compute processes each time; temperature, clocks and
    all other processes every 5 s, as are slices and their utilization; what hardly ever changes
    every 10 s; links, the compute mode and the health of the memory every minute. GPUs take turns.

    `failure` is the error that ended the last reading, None if it succeeded. `health` and
    `links` outlive this opening: they are handed on to the next one's Device.
    """

    def __init__(self, index: int, handle: Handle, pci_folder: str = PCI_FOLDER) -> None:
        self.failure: NvmlError | None = None
        self.health = MemoryHealth()
        self.links = Links()
        self.handle = handle
        self._queries = Queries()
        self._shares = SmShares()
        self._lists = ProcessLists(handle, self._queries)
        self._entries: list[ListedProcess] | None = None
        self._total: int | None = None
        self._by_instance: dict[int | None, list[ListedProcess]] = {}
        self._uses: tuple[Use, ...] = ()
        self._memory = DeviceMemory(handle)
        self._compute_mode = ComputeMode()
        self._mig_mode: MigMode | None = None
        self._slices: list[MigSlice] | None = None
        self._is_known = False
        self._values = SlowValues(handle, index)
        self._slices_due = Rhythm(MIG_MODE_SECONDS, index)
        self.identity = Identity(
            number=index,
            uuid=self._queries.query(handle.uuid),
            pci_bus_id=self._queries.query(handle.pci_bus_id),
        )
        self._mig_utilization = MigUtilization(handle)
        self._errors = XidEvents(handle)
        self._pci_power = PciPower(self.identity.pci_bus_id, pci_folder)
        self._last_good = GpuReading(self.identity)

    @property
    def trace(self) -> Trace:
        """Names the NVML call that is running."""
        return self.handle.trace

    @classmethod
    def by_index(cls, index: int, trace: Trace, pci_folder: str = PCI_FOLDER) -> "Device":
        """The GPU with this index of NVML, opened; NvmlError when it cannot be."""
        return cls(index, Handle.by_index(index, trace), pci_folder)

    @classmethod
    def at(cls, pci_bus_id: str, trace: Trace, pci_folder: str) -> "Device":
        """The GPU at this place on the bus, opened; NvmlError when it cannot be."""
        handle = Handle.by_bus_id(pci_bus_id, trace)
        return cls(handle.index(), handle, pci_folder)

    def read(self, now: float) -> GpuReading:
        """A reading, whatever NVML answers; blocks for as long as the driver does.

        `now` in monotonic seconds.
        """
        if self._pci_power.is_asleep(now):
            return asleep_reading(self.identity, self._last_good)
        try:
            reading = self._read(now)
            self.failure = None
            if reading.state == "ok":
                self._last_good = reading
            return reading
        except NvmlError as error:
            self.failure = error.with_traceback(None)
            state: State = "lost" if error.code in LOST else "error"
            return GpuReading(self.identity, state, str(error))

    def receive_errors(self, log: XidLog, is_ok: bool, now: float) -> None:
        """After a reading, which was ok or not: add the critical errors since the last time."""
        self._errors.receive(self.identity, log, is_ok, now)

    def faults(self) -> list[str]:
        """The queries that failed because of a fault of ours or of nvidia-ml-py, in words."""
        return self._queries.faults()

    def close(self) -> None:
        """Free NVML's buffers; no thread may be reading this GPU."""
        self._mig_utilization.close()
        self._errors.close()

    def _read(self, now: float) -> GpuReading:
        handle, values = self.handle, self._values
        if not self._is_known:
            self._read_once()
        self._find_slices(now)
        query = self._queries.query
        kind, total, used = self._memory.read(self._queries)
        utilization, memory_utilization = query(handle.utilization) or (None, None)
        power = query(handle.power)
        values.refresh(self._queries, now)
        if total is utilization is values.temperature is power is None and (
            reason := self._no_answer()
        ):
            return GpuReading(self.identity, "error", reason)
        is_working = (plausible.percent(utilization) or 0) >= WORKING_PERCENT
        uses, slices = self._uses_and_slices(now, None if kind == "unified" else total, is_working)
        self._compute_mode.refresh_if_due(self._queries, handle, now)
        self.health.poll(self._queries, handle, now)
        self.links.refresh(self._queries, handle, now)
        reading = GpuReading(
            self.identity,
            mig_mode=self._mig_mode,
            compute_mode=self._compute_mode.mode,
            memory_kind=kind,
            memory_total_bytes=total,
            memory_used_bytes=used,
            utilization_percent=plausible.percent(utilization),
            memory_controller_utilization_percent=plausible.percent(memory_utilization),
            temperature_celsius=plausible.celsius(values.temperature),
            power_watts=plausible.watts(power),
            power_limit_watts=plausible.limit_watts(values.power_limit),
            fan_percent=plausible.percent(values.fan, highest=200),
            sm_clock_mhz=plausible.mhz(values.sm_clock),
            memory_clock_mhz=plausible.mhz(values.memory_clock),
            energy_joules=values.energy_joules,
            pcie_generation=self.links.pcie_generation,
            pcie_width=self.links.pcie_width,
            nvlinks_up=self.links.nvlinks_up,
            throttle=plausible.throttle(values.throttle),
            uses=uses,
            uses_unread=self._why_unread_uses(),
            slices=slices,
        )
        return with_processes(reading)

    def _read_once(self) -> None:
        self.identity = self.identity._replace(
            name=self._queries.query(self.handle.name),
            slowdown_celsius=self._slowdown_celsius(),
        )
        self._is_known = True

    def _slowdown_celsius(self) -> int | None:
        """From the margin that is left where the driver does not report the temperature."""
        query, handle = self._queries.query, self.handle
        slowdown = plausible.slowdown(query(handle.slowdown_temperature))
        if slowdown is not None:
            return slowdown
        temperature = plausible.celsius(query(handle.temperature))
        margin = query(handle.slowdown_margin)
        if temperature is None or margin is None:
            return None
        return plausible.celsius(temperature + margin)

    def _find_slices(self, now: float) -> None:
        """Find out whether the GPU is divided, and how; measure its slices."""
        if not self._slices_due.is_due(now):
            return
        divided = self._is_divided()
        if bool(divided) != (self._slices is not None):
            self._queries = Queries()  # in the other mode it supports other queries
            self._lists = ProcessLists(self.handle, self._queries)
        self._mig_mode = None if divided is None else "enabled" if divided else "disabled"
        self._slices_due.seconds = SLICES_SECONDS if divided else MIG_MODE_SECONDS
        found = self._queries.query(self.handle.slices) if divided else None
        self._slices = [MigSlice(*each) for each in found or ()] if divided else None
        self._mig_utilization.measure(self._slices or (), now)
        self._entries = None

    def _is_divided(self) -> bool | None:
        """Whether the GPU is in MIG mode; None where it has none. As before if the query fails."""
        divided = self._queries.query(self.handle.mig_enabled)
        if divided is None and self._queries.failure_code("mig_enabled") not in UNSUPPORTED:
            return None if self._mig_mode is None else self._mig_mode == "enabled"
        return divided

    def _no_answer(self) -> str | None:
        """Why not even one reading came, where the GPU supports one of them."""
        for name in ("memory", "utilization", "temperature", "power"):
            if self._queries.failure_code(name) not in UNSUPPORTED | {0}:
                return f"no reading: {self._queries.failures[name]}"
        return None

    def _uses_and_slices(
        self, now: float, total: int | None, is_working: bool
    ) -> tuple[tuple[Use, ...], tuple[GpuReading, ...]]:
        """The processes of the whole GPU, and its slices with theirs."""
        entries = self._lists.query(now)
        if entries is not self._entries or total != self._total:
            self._entries, self._total = entries, total
            self._assign_to_slices(entries, total)
        samples = self._utilization_samples() if entries or not self._shares.has_begun else []
        uses = self._uses
        if samples is not None:
            self._shares.ingest(samples, now, is_working and bool(entries))
            uses = self._shares.add_to(uses)
        slices = self._slices or ()
        return uses, tuple(piece.read(self._by_instance[piece.instance], now) for piece in slices)

    def _why_unread_uses(self) -> str | None:
        """Why processes cannot be listed, in words: not even the slices that they are on, if so."""
        if self._slices is None:
            return self._lists.failure(is_divided=False)
        failure = self._queries.failures.get("slices")
        if failure is not None:
            return slice_failure(failure)
        return self._lists.failure(is_divided=True)

    def _assign_to_slices(self, entries: list[ListedProcess], total: int | None) -> None:
        """Which processes are the whole GPU's, and which are on which slice."""
        self._by_instance = {piece.instance: [] for piece in self._slices or ()}
        own: list[ListedProcess] = []
        for entry in entries:
            self._by_instance.get(entry.instance, own).append(entry)
        self._uses = merge_by_pid(own, total)

    def _utilization_samples(self) -> list[tuple[int, int, int]] | None:
        return self._queries.query(self._new_samples)

    def _new_samples(self) -> list[tuple[int, int, int]]:
        try:
            return self.handle.process_utilization(self._shares.since)
        except NvmlError as error:
            if error.code == NOT_FOUND:  # no process has done anything since the last answer
                return []
            raise
