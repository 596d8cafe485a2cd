"""Host readings: processor, memory, network, disks, and what the host is."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from collector.files import read_file, read_optional
from collector.scrub import clean
from wire.document import Column, Scalars, Table

MIB = 1 << 20
SLOW_SECONDS = 5.0
_LOCAL_DISKS = frozenset(
    {b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"zfs", b"f2fs", b"bcachefs", b"jfs"}
)
"""Filesystems whose fill is read: a network mount whose server is gone would hang the read."""
_NOT_DATA = ("/boot", "/snap/", "/var/lib/docker/", "/var/lib/kubelet/", "/var/lib/containers/")
_MAX_DISKS = 32
_MEMORY = re.compile(rb"^(MemTotal|MemAvailable|SwapTotal|SwapFree):\s*(\d+)", re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def boot_id() -> str:
    """A text that is new at each boot (random(4))."""
    return read_file("/proc/sys/kernel/random/boot_id").decode().strip()


def operating_system(release: str = "/etc/os-release") -> str | None:
    """The distribution's own name for itself (os-release(5)); None where it does not say."""
    try:
        lines = read_file(release).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return clean(value.strip().strip("\"'")) or None
    return None


class _Traffic(NamedTuple):
    """Bytes since boot at a moment (monotonic seconds); only their growth tells something."""

    at: float
    received: int
    sent: int


class System:
    """Reads the host; the first reading lacks what needs two (processor, network).

    All numbers come from /proc in single reads: psutil takes four times as long for them, and a
    twentieth of the collector's memory. Disks and network are read every 5 s: a rate is the mean
    over that time.
    """

    def __init__(self, name: str) -> None:
        self._static: Scalars = {"hostname": name, "kernel": os.uname().release}
        self._static["cpu_count"] = os.cpu_count() or 1
        if (system := operating_system()) is not None:
            self._static["os"] = system
        self._ticks: tuple[int, int] | None = None
        self._traffic: _Traffic | None = None
        self._slow_at: float | None = None
        self._network: Scalars = {}
        self._disks: Table = disk_columns([])

    def read(self, now: float) -> tuple[Scalars, Table]:
        """The host's scalars and its table of disks; `now` in monotonic seconds."""
        parts: list[Callable[[], Scalars]] = [_memory, _load, self._processor]
        if self._slow_at is None or now - self._slow_at >= SLOW_SECONDS:
            self._slow_at = now
            self._disks = disk_columns(disks())
            parts.append(lambda: self._read_network(now))
        system = dict(self._static)
        for part in parts:
            try:
                system |= part()
            except (OSError, ValueError, IndexError):  # a kernel that lacks it: not known
                continue
        return system | self._network, self._disks

    def _processor(self) -> Scalars:
        before, self._ticks = self._ticks, processor_ticks(read_file("/proc/stat", 4096))
        return {} if before is None else processor_use(before, self._ticks)

    def _read_network(self, now: float) -> Scalars:
        self._network = {}
        before = self._traffic
        sums = network_bytes(read_file("/proc/net/dev"), physical_interfaces())
        self._traffic = _Traffic(now, *sums)
        if before is not None:
            self._network = network_rates(before, self._traffic)
        return self._network


def _memory() -> Scalars:
    return memory(read_file("/proc/meminfo"))


def _load() -> Scalars:
    return {"load_1m": round(os.getloadavg()[0], 2)}


def memory(meminfo: bytes) -> Scalars:
    """Memory and swap in MiB; used is what programs could not get (total - available)."""
    kib = {name: int(value) for name, value in _MEMORY.findall(meminfo)}
    result: Scalars = {}
    for key, total, free in (
        ("memory", b"MemTotal", b"MemAvailable"),
        ("swap", b"SwapTotal", b"SwapFree"),
    ):
        if total in kib:
            result[f"{key}_total_mib"] = kib[total] >> 10
            if free in kib:
                result[f"{key}_used_mib"] = max(0, kib[total] - kib[free]) >> 10
    return result


def processor_ticks(stat: bytes) -> tuple[int, int]:
    """Busy and all clock ticks of all processors since boot, from /proc/stat.

    Waiting for a disk is not busy. Time of guests is part of user time already (proc(5)).
    """
    ticks = [int(word) for word in stat[: stat.index(b"\n")].split()[1:9]]
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def network_bytes(dev: bytes, interfaces: frozenset[bytes]) -> tuple[int, int]:
    """Bytes received and sent by `interfaces` since boot, from /proc/net/dev."""
    received = sent = 0
    for line in dev.splitlines()[2:]:
        name, _, numbers = line.partition(b":")
        if name.strip() in interfaces:
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def processor_use(before: tuple[int, int], after: tuple[int, int]) -> Scalars:
    """The share of busy ticks between two readings of `processor_ticks`."""
    busy, ticks = after[0] - before[0], after[1] - before[1]
    return {"cpu_percent": round(100 * busy / ticks)} if 0 <= busy <= ticks > 0 else {}


def network_rates(before: _Traffic, after: _Traffic) -> Scalars:
    """KiB per second; a counter that went back (an interface came or went) says nothing."""
    result: Scalars = {}
    seconds = after.at - before.at
    for key, count in (
        ("network_receive_kib_per_second", after.received - before.received),
        ("network_send_kib_per_second", after.sent - before.sent),
    ):
        if seconds > 0 and count >= 0:
            result[key] = round(count / seconds / 1024)
    return result


def physical_interfaces(folder: str = "/sys/class/net") -> frozenset[bytes]:
    """Interfaces with a device behind them; in a container, which has none, all but loopback."""
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    physical = [name for name in names if os.path.exists(f"{folder}/{name}/device")]
    return frozenset(os.fsencode(name) for name in physical or names if name != "lo")


def data_mounts(mounts: bytes) -> list[str]:
    """The root, then every local data disk, once per device; from /proc/self/mounts (fstab(5))."""
    by_device: dict[bytes, str] = {}
    for line in mounts.splitlines():
        device, folder, kind = line.split(b" ", 3)[:3]
        mount = os.fsdecode(_ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), folder))
        if mount == "/" or (kind in _LOCAL_DISKS and not mount.startswith(_NOT_DATA)):
            by_device[device] = min(mount, by_device.get(device, mount), key=len)
    return sorted(by_device.values(), key=lambda mount: (mount != "/", mount))[:_MAX_DISKS]


def disks() -> list[tuple[str, int, int]]:
    """Mount, total and used bytes of the root and the data disks; used is as `df` counts it."""
    found = []
    for mount in data_mounts(read_optional("/proc/self/mounts")):
        try:
            size = os.statvfs(mount)
        except OSError:  # not ours to look into, or just unmounted
            continue
        if size.f_blocks:
            used = size.f_blocks - size.f_bfree
            found.append((clean(mount), size.f_blocks * size.f_frsize, used * size.f_frsize))
    return found


def disk_columns(found: list[tuple[str, int, int]]) -> Table:
    """Disks as columns, sizes in whole MiB."""
    columns: list[Column] = [[mount for mount, _, _ in found]]
    columns.append([total // MIB for _, total, _ in found])
    columns.append([used // MIB for _, _, used in found])
    return dict(zip(("mount", "total_mib", "used_mib"), columns, strict=True))
