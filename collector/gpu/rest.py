"""When GPUs that the kernel may put to sleep are left alone, so that it can."""

import re
from collections.abc import Iterable, Sequence

from gpu_monitor.collector.gpu.pci import PciPower, sysfs_address
from gpu_monitor.collector.gpu.readings import GpuReading
from gpu_monitor.collector.host.procfs import read_optional

REST_AFTER_SECONDS = 60.0
FALL_ASLEEP_SECONDS = 30.0
"""How long GPUs are left alone that do not fall asleep: something else may keep them awake."""
LONGEST_WAIT_SECONDS = 3600.0
RESTING = "left alone so that it can fall asleep"
_RUNTIME_D3 = re.compile(rb"^Runtime D3 status:\s*(.*)", re.MULTILINE)


class Rest:
    """Decides when NVML is closed and for how long; `now` is always in monotonic seconds.

    A GPU that is queried every second never sleeps, and closing NVML closes all GPUs or none. So
    NVML is closed once every GPU may sleep, has no process and has been at 0 % for a minute. It
    stays closed until they all sleep, one of them is woken by something else, or one may no longer
    sleep. If they have not fallen asleep within half a minute, it is opened again, and the next
    attempt comes after twice as long, up to an hour.

    `pci_folder` is sysfs's, `gpu_folder` the kernel module's.
    """

    def __init__(self, pci_folder: str, gpu_folder: str) -> None:
        self._pci_folder = pci_folder
        self._gpu_folder = gpu_folder
        self._powers: dict[str, PciPower] = {}
        self._idle_since: float | None = None
        self._wait_seconds = REST_AFTER_SECONDS
        self._began_at: float | None = None
        self._slept: set[str] = set()
        self._all_asleep = False
        self.is_ready = False
        """Whether it was time when `is_due` was last asked."""

    @property
    def is_falling_asleep(self) -> bool:
        """Whether GPUs are left alone that may not all be asleep yet."""
        return self._began_at is not None and not self._all_asleep

    def is_due(self, gpus: Sequence[GpuReading], now: float) -> bool:
        """Whether it is time to begin; `gpus` are their latest readings."""
        places = [gpu.identity.pci_bus_id for gpu in gpus]
        known = [place for place in places if place is not None]
        if not gpus or len(known) < len(gpus) or not all(map(_is_idle, gpus)):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        since = self._idle_since
        has_waited = since is not None and now - since >= self._wait_seconds
        self.is_ready = has_waited and self._may_all_sleep(known, now)
        return self.is_ready

    def begin(self, now: float) -> None:
        """Leave alone the GPUs that `is_due` was asked about."""
        self._began_at, self._idle_since, self._slept = now, None, set()
        self.is_ready = self._all_asleep = False

    def goes_on(self, places: Iterable[str], now: float) -> bool:
        """Whether the GPUs at these places, by NVML's bus ids, are to be left alone further."""
        if self._began_at is None:
            return False
        powers = [self._power(place) for place in places]
        asleep = {power.pci_bus_id or "" for power in powers if power.is_asleep(now)}
        woken, self._slept = self._slept - asleep, asleep
        self._all_asleep = bool(asleep) and len(asleep) == len(powers)
        if self._all_asleep:
            self._wait_seconds = REST_AFTER_SECONDS
            return True
        has_failed = now - self._began_at >= FALL_ASLEEP_SECONDS
        if woken or has_failed or not all(power.may_sleep(now) for power in powers):
            self._began_at = None
            if has_failed and not woken:
                self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
            return False
        return True

    def _may_all_sleep(self, places: list[str], now: float) -> bool:
        return all(self._power(place).may_sleep(now) for place in places) and not any(
            self._is_without_d3(place) for place in places
        )

    def _is_without_d3(self, place: str) -> bool:
        """Whether the driver says that it never lets this GPU sleep; not all drivers say."""
        path = f"{self._gpu_folder}/{sysfs_address(place)}/power"
        status = _RUNTIME_D3.search(read_optional(path))
        return status is not None and not status[1].startswith(b"Enabled")

    def _power(self, place: str) -> PciPower:
        return self._powers.setdefault(place, PciPower(place, self._pci_folder))


def _is_idle(gpu: GpuReading) -> bool:
    """Whether nothing is on a GPU and nothing runs on it, or it is asleep."""
    if gpu.state == "asleep":
        return True
    return (
        gpu.state == "ok"
        and gpu.utilization_percent == 0
        and gpu.uses_unread is None
        and not any(each.uses for each in (gpu, *gpu.slices))
    )
