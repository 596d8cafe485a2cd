"""One GPU: what it is, read once; what it does, read each time, some of it less often."""

from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.memory_health import Health
from gpu_monitor.collector.gpu.mig import Slice
from gpu_monitor.collector.gpu.mig_utilization import Gpm
from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.nvml_errors import (
    LOST,
    NOT_FOUND,
    NOT_SUPPORTED,
    UNSUPPORTED,
    NvmlError,
)
from gpu_monitor.collector.gpu.processes import Listed, Lists, joined, shared, unread
from gpu_monitor.collector.gpu.queries import Questions, Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, MemoryKind, State, Use
from gpu_monitor.collector.gpu.shares import Shares
from gpu_monitor.collector.gpu.sleep import PCI_FOLDER, Sleep, asleep
from gpu_monitor.collector.host.system import memory

SLOW_SECONDS = 5.0
_SLOW = ("fan", "power_limit", "sm_clock", "memory_clock")


class Device:
    """A GPU as this opening of NVML knows it; read by one thread at a time.

    `identity` holds what does not change. Readings come in tiers: use, memory, temperature, power
    and processes each time; fan, clocks, power limit, MIG and how busy its slices are every 5 s,
    not all GPUs in the same sample; the health of its memory every minute. `failure` is the last
    answer that was about the whole GPU. `health` remembers: it is handed on to the Device of the
    next opening.
    """

    def __init__(
        self, index: int, handle: Handle, trace: Trace, pci_folder: str = PCI_FOLDER
    ) -> None:
        self.trace = trace
        self.failure: NvmlError | None = None
        self.health = Health()
        self.handle = handle
        self._questions = Questions(handle, trace)
        self._shares = Shares()
        self._lists = Lists(self._questions)
        self._entries: list[Listed] | None = None
        self._by_instance: dict[int | None, list[Listed]] = {}
        self._uses: tuple[Use, ...] = ()
        self._slices: list[Slice] | None = None
        self._gpm = Gpm(handle, trace)
        self._slow: dict[str, int | None] = {}
        self._slow_at: float | None = None
        ask = self._questions.ask
        self.identity = Identity(
            number=index,
            uuid=ask("uuid", "nvmlDeviceGetUUID", handle.uuid),
            pci_bus_id=ask("pci_bus_id", "nvmlDeviceGetPciInfo_v3", handle.pci_bus_id),
        )
        self._sleep = Sleep(self.identity.pci_bus_id, pci_folder)
        self._known = GpuReading(self.identity)

    @classmethod
    def at(cls, pci_bus_id: str, trace: Trace, pci_folder: str) -> "Device":
        """The GPU in this place, opened; NvmlError when it cannot be."""
        trace.calling = "nvmlDeviceGetHandleByPciBusId_v2"
        handle = Handle.by_bus_id(pci_bus_id)
        return cls(handle.index(), handle, trace, pci_folder)

    def read(self, now: float) -> GpuReading:
        """A reading, whatever NVML answers; blocks as long as the driver does.

        `now` in monotonic seconds.
        """
        if self._sleep.now(now):
            return asleep(self.identity, self._known)
        try:
            reading = self._read(now)
            self.failure = None
            if reading.state == "ok":
                self._known = reading
            return reading
        except NvmlError as error:
            self.failure = error.with_traceback(None)
            state: State = "lost" if error.code in LOST else "error"
            return GpuReading(self.identity, state, str(error))

    def _read(self, now: float) -> GpuReading:
        if self._slow_at is None:
            self._learn()
        if self._slow_at is None or now - self._slow_at >= SLOW_SECONDS:
            self._read_slow(now)
        number = self._questions.number
        kind, total, used = self._memory()
        use, memory_use = number("utilization") or (None, None)
        temperature = number("temperature")
        power = number("power")
        if total is use is temperature is power is None and (reason := self._no_answer()):
            return GpuReading(self.identity, "error", reason)
        throttle = number("throttle")
        uses, slices = self._uses_and_slices(now)
        self.health.look(self._questions, self.handle, now)
        return GpuReading(
            self.identity,
            memory_kind=kind,
            memory_total_bytes=total,
            memory_used_bytes=used,
            utilization_percent=plausible.percent(use),
            memory_controller_utilization_percent=plausible.percent(memory_use),
            temperature_celsius=plausible.celsius(temperature),
            power_watts=plausible.watts(power),
            power_limit_watts=plausible.watts(self._slow["power_limit"]),
            fan_percent=plausible.percent(self._slow["fan"], highest=200),
            sm_clock_mhz=plausible.mhz(self._slow["sm_clock"]),
            memory_clock_mhz=plausible.mhz(self._slow["memory_clock"]),
            throttle=plausible.throttle(throttle),
            uses=uses,
            uses_unread=unread(self._questions),
            slices=slices,
        )

    def _learn(self) -> None:
        ask, handle = self._questions.ask, self.handle
        slowdown = ask("slowdown", "nvmlDeviceGetTemperatureThreshold", handle.slowdown_celsius)
        self.identity = self.identity._replace(
            name=ask("name", "nvmlDeviceGetName", handle.name),
            slowdown_celsius=plausible.celsius(slowdown),
        )

    def _read_slow(self, now: float) -> None:
        stagger = self.identity.number % 5 if self._slow_at is None else 0
        divided = self._questions.ask("mig", "nvmlDeviceGetMigMode", self.handle.mig_enabled)
        if bool(divided) != (self._slices is not None):
            self._questions = Questions(self.handle, self.trace)  # it answers other questions now
            self._lists = Lists(self._questions)
        self._slices = self._find_slices() if divided else None
        self._gpm.measure(self._slices or (), now)
        self._entries = None
        self._slow = {key: self._questions.number(key) for key in _SLOW}
        self._slow_at = now - stagger

    def _find_slices(self) -> list[Slice]:
        name = "nvmlDeviceGetMigDeviceHandleByIndex"
        found = self._questions.ask("slices", name, self.handle.slices) or ()
        return [Slice(index, handle, self.trace) for index, handle in found]

    def _memory(self) -> tuple[MemoryKind | None, int | None, int | None]:
        """Used memory is without the driver's reserve, where the driver is new enough to say.

        A GPU that shares the host's memory has none to tell of (NOT_SUPPORTED): the host's then.
        """
        total, used = plausible.memory_bytes(self._questions.number("memory") or self._old_memory())
        if total is not None or used is not None:
            return "device", total, used
        failure = self._questions.failures.get("memory")
        if failure is None or failure.code != NOT_SUPPORTED:
            return None, None, None
        host = memory()
        total, used = host.get("memory_total_mib"), host.get("memory_used_mib")
        return "unified", total and total << 20, used and used << 20

    def _old_memory(self) -> tuple[int, int] | None:
        failure = self._questions.failures.get("memory")
        if failure is None or failure.code not in UNSUPPORTED - {NOT_SUPPORTED}:
            return None
        answer: tuple[int, int] | None = self._questions.number("memory_v1")
        return answer

    def _no_answer(self) -> str | None:
        """Why not even one reading came, if the driver could have given one."""
        for key in ("memory", "utilization", "temperature", "power"):
            failure = self._questions.failures.get(key)
            if failure is not None and failure.code not in UNSUPPORTED:
                return f"no reading: {failure}"
        return None

    def _uses_and_slices(self, now: float) -> tuple[tuple[Use, ...], tuple[GpuReading, ...]]:
        """The processes of the whole GPU, and its slices with theirs."""
        entries = self._lists.read()
        if entries is not self._entries:
            self._entries = entries
            self._sort_out(entries)
        shares = self._read_shares(now)
        uses = self._uses if shares is None else shared(self._uses, shares)
        slices = self._slices or ()
        return uses, tuple(piece.read(self._by_instance[piece.instance]) for piece in slices)

    def _sort_out(self, entries: list[Listed]) -> None:
        """Which processes are the whole GPU's, and which are on which slice."""
        self._by_instance = {piece.instance: [] for piece in self._slices or ()}
        own: list[Listed] = []
        for entry in entries:
            self._by_instance.get(entry.instance, own).append(entry)
        self._uses = joined(own)

    def _read_shares(self, now: float) -> Shares | None:
        """Each process's share of the GPU; None where the driver does not tell."""
        samples = self._questions.ask("shares", "nvmlDeviceGetProcessUtilization", self._samples)
        if samples is None:
            return None
        self._shares.take(samples, now)
        return self._shares

    def _samples(self) -> list[tuple[int, int, int]]:
        try:
            return self.handle.process_utilization(self._shares.since)
        except NvmlError as error:
            if error.code == NOT_FOUND:  # nobody did anything since the last answer
                return []
            raise
