"""A GPU's row, which outlives the GPU: opened, read, lost, asleep, opened again."""

import threading
from typing import NamedTuple

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.links import Links
from gpu_monitor.collector.gpu.memory_health import MemoryHealth
from gpu_monitor.collector.gpu.nvml_errors import (
    FATAL,
    LOST,
    NO_NVML_ERROR,
    UNKNOWN,
    InternalError,
    NvmlError,
    words_unopened,
)
from gpu_monitor.collector.gpu.pci import PciPower, asleep_reading
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, State
from gpu_monitor.collector.gpu.recent_users import RecentUsers
from gpu_monitor.collector.gpu.xid import XidLog


class TimedReading(NamedTuple):
    """A reading and when it began, in monotonic seconds."""

    reading: GpuReading
    at: float


class Slot:
    """A GPU's row, kept when the GPU is gone.

    `key` is its UUID, with the bus id where another GPU has the same one; or its bus id or index
    where NVML does not report a UUID or was not asked.
    While there is no `device`, `absent` is the reading to show. With `power` set the GPU is asleep
    and is opened once it is awake; `unopened` means that opening it has failed. `carried` is the
    last reading from before NVML was closed, until there is one since.
    """

    def __init__(self, key: str, identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.device: Device | None = None
        self.absent: GpuReading | None = None
        self.power: PciPower | None = None
        self.latest: TimedReading | None = None
        self.carried: TimedReading | None = None
        self.unopened = False
        self._unopened_by: NvmlError | None = None
        self._users = RecentUsers()
        self.xids = XidLog(users=self._users.uids)
        self._health = MemoryHealth()
        self._links = Links()
        self._trace = Trace()
        self._lock = threading.Lock()
        self._being_read: Device | None = None
        self._was_down = False

    @property
    def trace(self) -> Trace:
        """Names the NVML call that a reading is in."""
        return self._trace if self.device is None else self.device.trace

    @property
    def state(self) -> State | None:
        """As of the last reading; None until there is one. A call that hangs changes nothing."""
        reading = self.absent or (self.latest and self.latest.reading)
        return reading and reading.state

    @property
    def answers(self) -> bool | None:
        """Whether the GPU answered when it was last asked, or is asleep; None until it is asked."""
        state = self.state
        return None if state is None else state in ("ok", "asleep")

    @property
    def is_being_read(self) -> bool:
        """Whether a thread is in a reading of it."""
        return self._being_read is not None

    @property
    def failure(self) -> NvmlError | None:
        """The error that ended the last reading, or that the GPU could not be opened with."""
        if self.device is not None:
            return self.device.failure
        return self._unopened_by if self.unopened else None

    @property
    def is_ours_to_mend(self) -> bool:
        """Whether it was not opened because of a fault of ours or of nvidia-ml-py."""
        return self.unopened and isinstance(self._unopened_by, InternalError)

    def health_findings(self, now: float) -> tuple[Finding, ...]:
        """What is known to be wrong with the GPU, whether it answers now or not."""
        loss = () if self.xids.loss is None else (self.xids.loss,)
        return (*loss, *self.xids.findings(now), *self._health.findings)

    @property
    def link_findings(self) -> tuple[Finding, ...]:
        """What is known to be wrong with its links, as long as it answers."""
        return self._links.findings

    def refresh(self, now: float) -> None:
        """Read the GPU into `latest`; blocks for as long as the driver does."""
        device = self.device or self._opened_if_awake(now)
        with self._lock:
            if device is None or device is not self.device:
                return
            self._being_read = device
        needed_recovery = self._health.needs_recovery
        try:
            reading = device.read(now)
            device.receive_errors(self.xids, reading.state == "ok", now)
        finally:
            with self._lock:
                self._being_read = None
                is_current = self.device is device
        if is_current:
            self.identity = device.identity
            self.latest, self.carried = TimedReading(reading, now), None
            self._users.update(_pids(reading), now)
            self._notice_reset(device, reading.state == "ok", needed_recovery)
        else:  # it was reopened while this call hung
            device.close()

    def _notice_reset(self, device: Device, is_ok: bool, needed_recovery: bool) -> None:
        """A GPU that answers again after it was down was reset, reloaded or repaired."""
        if device.failure is not None and device.failure.code in FATAL:
            self._was_down = True
        recovered = needed_recovery and not self._health.needs_recovery
        if is_ok:
            self.xids.loss = None
        if is_ok and (self._was_down or recovered):
            self._was_down = False
            self.xids.mark_reset()

    def _opened_if_awake(self, now: float) -> Device | None:
        power = self.power
        if power is None or power.pci_bus_id is None or power.is_asleep(now):
            return None
        self.absent = None
        try:
            device = Device.at(power.pci_bus_id, self._trace, power.folder)
        except NvmlError as error:
            if self.power is power:
                self.mark_unopened(error)
            return None
        if self.power is not power:  # it was reopened while this call hung
            return None
        self.attach(device)
        self._trace = Trace()  # the other one is the device's now
        return device

    def carry(self) -> None:
        """NVML is about to be closed: until the GPU is open again, show its last reading."""
        if self.latest is not None:
            reading, at = self.latest
            pieces = tuple(piece._replace(carried=True) for piece in reading.slices)
            self.carried = TimedReading(reading._replace(carried=True, slices=pieces), at)
        self._replace_device(None)
        self.latest = None

    def attach(self, device: Device) -> None:
        """The GPU is there, as `device`."""
        if device is self.device:
            return
        device.health, device.links = self._health, self._links
        self._replace_device(device)
        self.absent, self.power, self.latest = None, None, None
        self.unopened = False
        known, found = self.identity, device.identity
        place = found.pci_bus_id or known.pci_bus_id
        self.identity = known._replace(number=found.number, pci_bus_id=place)

    def mark_absent(self, state: State, reason: str) -> None:
        """The GPU is not there; its row stays."""
        self._replace_device(None)
        self.power = self.carried = None
        self.unopened = False
        self.absent = GpuReading(self.identity, state, reason)
        self._was_down = self._was_down or state == "lost"

    def mark_unopened(self, error: NvmlError) -> None:
        """The GPU could not be opened."""
        is_lost = error.code in LOST or error.code == UNKNOWN
        is_answer = error.code != NO_NVML_ERROR
        reason = words_unopened(error.code) if is_answer else str(error)
        self.mark_absent("lost" if is_lost else "error", reason)
        self.unopened = True
        self._unopened_by = error

    def faults(self) -> list[str]:
        """What cannot be read because of a fault of ours or of nvidia-ml-py, in words."""
        if self.device is not None:
            return self.device.faults()
        return [str(self._unopened_by)] if self.is_ours_to_mend else []

    def set_place(self, pci_bus_id: str) -> None:
        """The place of a GPU that could not be opened is known from elsewhere."""
        self.identity = self.identity._replace(pci_bus_id=pci_bus_id)
        if self.absent is not None:
            self.absent = self.absent._replace(identity=self.identity)

    def mark_asleep(self, number: int, power: PciPower) -> None:
        """The GPU is asleep, and is not opened."""
        self.unopened = False
        last = self.latest or self.carried
        known = self.absent or (last and last.reading) or GpuReading(self.identity)
        self.identity = self.identity._replace(number=number)
        self._replace_device(None)
        self.power, self.carried = power, None
        self.absent = asleep_reading(self.identity, known)

    def close(self) -> None:
        """Free NVML's buffers; no thread may be reading this GPU."""
        if self.device is not None:
            self.device.close()

    def _replace_device(self, device: Device | None) -> None:
        """A thread that still hangs in a reading of the old one closes it on its return."""
        with self._lock:
            old, self.device = self.device, device
            is_free = old is not self._being_read
        if old is not None and is_free:
            old.close()


def _pids(reading: GpuReading) -> set[int]:
    """The processes on a GPU and its slices."""
    return {use.pid for each in (reading, *reading.slices) for use in each.uses}
