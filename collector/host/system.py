"""The host: its processor, memory, network and disks, and which system it runs."""

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil

from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.collector.host.procfs import read_file
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.document import Scalars, Table

HOST_SCAN_SECONDS = 5.0
"""How often swap, network and disks are read."""
_LOCAL_DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs"})
"""Filesystems that are read: reading a network mount hangs when its server is gone."""
_NOT_DATA = ("/boot", "/snap/", "/var/lib/docker/", "/var/lib/kubelet/", "/var/lib/containers/")
_MAX_DISKS = 32
_MEMORY = re.compile(rb"^(MemTotal|MemAvailable):\s*(\d+)", re.MULTILINE)


def boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    """A text that is different after each boot (random(4)).

    Where /proc shows processes only (ProcSubset=pid), the minute of the boot by the wall clock.
    """
    try:
        return read_file(path).decode().strip()
    except OSError:
        booted_at = time.time() - boottime()
        return f"booted-in-minute-{round(booted_at / 60)}"


def operating_system(release: str = "/etc/os-release") -> str | None:
    """The distribution's name (os-release(5)); None where it has none."""
    try:
        lines = read_file(release).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return clean(value.strip().strip("\"'")) or None
    return None


class Traffic(NamedTuple):
    """Bytes received and sent since boot, at a moment in monotonic seconds."""

    at: float
    received: int
    sent: int


class HostSystem:
    """Samples the host; the first sample lacks what needs two (processor, network).

    Swap, disks and network are read every 5 s, by psutil: a rate is the mean over that time.
    Processor and memory are read for each sample, directly from /proc: psutil takes about 0.2 ms
    more for them, a tenth of what a whole sample may cost.
    """

    def __init__(
        self,
        name: str,
        guard: SourceGuard | None = None,
        interfaces: Callable[[], frozenset[str] | None] | None = None,
    ) -> None:
        self._interfaces = interfaces or physical_interfaces
        self._guard = guard or SourceGuard()
        self._static: Scalars = {"hostname": name, "kernel": os.uname().release}
        self._static["cpu_count"] = os.cpu_count() or 1
        if (system := self._guard.attempt("the system's name", operating_system, None)) is not None:
            self._static["os"] = system
        self._ticks: tuple[int, int] | None = None
        self._traffic: Traffic | None = None
        self._scanned_at: float | None = None
        self._scanned: Scalars = {}
        self._disks: Table = disk_columns([])

    def sample(self, now: float) -> tuple[Scalars, Table]:
        """The host's scalars and its table of disks; `now` in monotonic seconds.

        What cannot be read is left out.
        """
        if self._scanned_at is None or now - self._scanned_at >= HOST_SCAN_SECONDS:
            self._scanned_at = now
            self._scanned = self._known(
                {"host swap": swap, "host network": lambda: self._network(now)}
            )
            self._disks = self._guard.attempt("host disks", disks, disk_columns([]))
        each_time = self._known(
            {"host memory": memory, "host load": _load, "host processor": self._processor}
        )
        return self._static | each_time | self._scanned, self._disks

    def _known(self, sources: dict[str, Callable[[], Scalars]]) -> Scalars:
        scalars: Scalars = {}
        for name, read in sources.items():
            scalars |= self._guard.attempt(name, read, scalars)
        return scalars

    def _processor(self) -> Scalars:
        before, self._ticks = self._ticks, processor_ticks(read_file("/proc/stat", 4096))
        return {} if before is None else processor_use(before, self._ticks)

    def _network(self, now: float) -> Scalars:
        interfaces = self._interfaces()
        before, self._traffic = self._traffic, None
        if interfaces is None:
            return {}
        self._traffic = traffic(now, interfaces)
        return {} if before is None else network_rates(before, self._traffic)


def memory() -> Scalars:
    """The host's memory in MiB; used is what programs cannot get (total - available)."""
    kib = {name: int(value) for name, value in _MEMORY.findall(read_file("/proc/meminfo"))}
    total, available = kib.get(b"MemTotal"), kib.get(b"MemAvailable")
    scalars: Scalars = {}
    if total is not None:
        scalars["memory_total_mib"] = total >> 10
        if available is not None:
            scalars["memory_used_mib"] = (total - available) >> 10
    return scalars


def processor_ticks(stat: bytes) -> tuple[int, int]:
    """Busy and all clock ticks of all processors since boot, from /proc/stat.

    Waiting for a disk is not busy. User time already includes that of guests (proc(5)).
    """
    ticks = [int(word) for word in stat[: stat.index(b"\n")].split()[1:9]]
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def processor_use(before: tuple[int, int], after: tuple[int, int]) -> Scalars:
    """The busy share between two readings; unknown where the counters went back."""
    busy, total = after[0] - before[0], after[1] - before[1]
    return {"cpu_percent": round(100 * busy / total)} if 0 <= busy <= total and total else {}


def swap() -> Scalars:
    """The host's swap in MiB."""
    found = psutil.swap_memory()
    return {"swap_total_mib": found.total >> 20, "swap_used_mib": found.used >> 20}


def _load() -> Scalars:
    return {"load_1m": round(os.getloadavg()[0], 2)}


def traffic(now: float, interfaces: frozenset[str]) -> Traffic:
    """What `interfaces` together have received and sent up to `now`."""
    counters = psutil.net_io_counters(pernic=True, nowrap=False)
    chosen = [counter for name, counter in counters.items() if name in interfaces]
    received = sum(counter.bytes_recv for counter in chosen)
    return Traffic(now, received, sum(counter.bytes_sent for counter in chosen))


def network_rates(before: Traffic, after: Traffic) -> Scalars:
    """KiB per second between two moments; unknown where a counter went back (a new interface)."""
    result: Scalars = {}
    seconds = after.at - before.at
    for key, count in (
        ("network_receive_kib_per_second", after.received - before.received),
        ("network_send_kib_per_second", after.sent - before.sent),
    ):
        if seconds > 0 and count >= 0:
            result[key] = round(count / seconds / 1024)
    return result


def physical_interfaces(folder: str = "/sys/class/net") -> frozenset[str] | None:
    """Interfaces with a device behind them; in a container, which has none, all but loopback.

    None where that is not known, because there is no /sys.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    physical = [name for name in names if os.path.exists(f"{folder}/{name}/device")]
    return frozenset(name for name in physical or names if name != "lo")


def disks() -> Table:
    """The table of the host's data disks.

    psutil's own choice of mounts needs /proc/filesystems, which ProcSubset=pid hides.
    """
    parts = psutil.disk_partitions(all=True)
    return disk_columns(data_mounts(part[:3] for part in parts))


def data_mounts(partitions: Iterable[tuple[str, str, str]]) -> list[str]:
    """The root, then every local data disk, once per device by its shortest mount.

    A partition is (device, mount point, filesystem).
    """
    by_device: dict[str, str] = {}
    for device, mount, filesystem in partitions:
        if filesystem in _LOCAL_DISKS and not mount.startswith(_NOT_DATA):
            by_device[device] = min(mount, by_device.get(device, mount), key=len)
    return ["/", *sorted(set(by_device.values()) - {"/"})][:_MAX_DISKS]


def disk_columns(mounts: Iterable[str]) -> Table:
    """Disks in whole MiB as `df` counts them; one that cannot be read is left out."""
    columns: Table = {"mount": [], "total_mib": [], "used_mib": []}
    for mount in mounts:
        try:
            usage = psutil.disk_usage(mount)
        except OSError:  # we may not read it, or it was just unmounted
            continue
        if usage.total:
            columns["mount"].append(clean(mount))
            columns["total_mib"].append(usage.total >> 20)
            columns["used_mib"].append(usage.used >> 20)
    return columns
