"""Host readings, from the files of other kernels and from this machine."""

import os
import time
from pathlib import Path

import psutil
import pytest

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.host import system
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.wire.document import SYSTEM_FIELDS
from gpu_monitor.wire.limits import WireError
from tests.support.snapshots import check_snapshot, make_snapshot

STAT = b"cpu  100 5 20 800 40 3 2 10 50 5\ncpu0 1 2 3\n"
MOUNTS = [
    ("/dev/nvme0n1p2", "/", "ext4"),
    ("/dev/nvme0n1p1", "/boot", "ext4"),
    ("/dev/md0", "/data one/bound/deeper", "xfs"),
    ("/dev/md0", "/data one", "xfs"),
    ("nas:/export", "/home", "nfs4"),
    ("tank/x", "/tank", "zfs"),
    ("/dev/loop3", "/snap/core/1", "squashfs"),
    ("overlay", "/var/lib/docker/overlay2/x/merged", "overlay"),
]


def test_the_first_sample_lacks_rates() -> None:
    host = system.HostSystem("node1")

    first, _ = host.sample(0.0)
    second, _ = host.sample(system.HOST_SCAN_SECONDS)

    rates = {"network_receive_kib_per_second", "network_send_kib_per_second"}
    assert second.keys() - first.keys() >= rates
    assert second.keys() <= SYSTEM_FIELDS.keys()
    assert (first["hostname"], first["kernel"]) == ("node1", os.uname().release)


def test_a_sample_passes_the_brokers_check() -> None:
    host = system.HostSystem("node1")
    host.sample(0.0)
    scalars, disks = host.sample(1.0)

    try:
        check_snapshot(make_snapshot(system=scalars, disks=disks))
    except WireError as error:
        pytest.fail(str(error))


def test_memory_agrees_with_psutil() -> None:
    before = psutil.virtual_memory()
    scalars, _ = system.HostSystem("node1").sample(0.0)
    after = psutil.virtual_memory()

    assert scalars["memory_total_mib"] == after.total >> 20
    used = [memory.total - memory.available >> 20 for memory in (before, after)]
    assert min(used) - 512 < scalars["memory_used_mib"] < max(used) + 512
    assert scalars["swap_total_mib"] == psutil.swap_memory().total >> 20


def test_the_root_disk_agrees_with_psutil() -> None:
    before = psutil.disk_usage("/")
    _, disks = system.HostSystem("node1").sample(0.0)
    after = psutil.disk_usage("/")

    assert disks["mount"][0] == "/"
    assert disks["total_mib"][0] == after.total >> 20
    used = [disk.used >> 20 for disk in (before, after)]
    assert min(used) - 1024 < disks["used_mib"][0] < max(used) + 1024


def test_processor_use_is_a_percentage() -> None:
    host = system.HostSystem("node1")
    first, _ = host.sample(0.0)
    while "cpu_percent" not in (later := host.sample(1.0)[0]):
        time.sleep(0.01)  # the kernel counts in hundredths of a second

    assert "cpu_percent" not in first
    assert 0 <= later["cpu_percent"] <= 100


def test_waiting_for_a_disk_is_not_busy() -> None:
    assert system.processor_ticks(STAT) == (140, 980)


def test_processor_use_is_the_share_of_busy_ticks() -> None:
    assert system.processor_use((100, 1000), (150, 1200)) == {"cpu_percent": 25}
    assert system.processor_use((100, 1000), (100, 1000)) == {}
    assert system.processor_use((100, 1000), (90, 1200)) == {}


def test_only_the_named_interfaces_count() -> None:
    assert system.traffic(1.0, frozenset()) == system.Traffic(1.0, 0, 0)
    own = system.traffic(1.0, frozenset({"lo"}))  # first, because it may grow meanwhile
    both = system.traffic(1.0, frozenset(psutil.net_io_counters(pernic=True)))
    assert both.received >= own.received


def test_rates_are_per_second_and_unknown_when_a_counter_goes_back() -> None:
    before, after = system.Traffic(10.0, 0, 4096), system.Traffic(12.0, 20480, 0)

    assert system.network_rates(before, after) == {"network_receive_kib_per_second": 10}
    assert system.network_rates(after, after) == {}


def test_data_disks_are_local_and_named_once() -> None:
    assert system.data_mounts(MOUNTS) == ["/", "/data one", "/tank"]


def test_a_root_of_any_kind_is_a_disk() -> None:
    assert system.data_mounts([("overlay", "/", "overlay")]) == ["/"]


def test_a_disk_that_cannot_be_read_is_left_out() -> None:
    assert system.disk_columns(["/", "/no/such/mount"])["mount"] == ["/"]


def test_interfaces_with_a_device_count_or_all_but_loopback_in_a_container(
    tmp_path: Path,
) -> None:
    for name in ("lo", "docker0", "eth0"):
        (tmp_path / name).mkdir()
    container = system.physical_interfaces(str(tmp_path))
    (tmp_path / "eth0" / "device").mkdir()

    assert container == frozenset({"docker0", "eth0"})
    assert system.physical_interfaces(str(tmp_path)) == frozenset({"eth0"})
    assert system.physical_interfaces(str(tmp_path / "absent")) is None


def test_without_sys_the_network_rates_are_unknown() -> None:
    host = system.HostSystem("node1", interfaces=lambda: None)

    samples = [host.sample(at * system.HOST_SCAN_SECONDS)[0] for at in range(3)]

    assert [key for sample in samples for key in sample if key.startswith("network")] == []


def test_a_source_that_raises_costs_only_its_own_values() -> None:
    def broken() -> frozenset[str]:
        raise AttributeError("sysfs")

    guard = SourceGuard()
    host = system.HostSystem("node1", guard, broken)
    scalars, disks = host.sample(-system.HOST_SCAN_SECONDS)
    guard.settle()
    found: list[Finding] = []
    for at in range(2):
        scalars, disks = host.sample(at * system.HOST_SCAN_SECONDS)
        found = guard.settle()

    assert scalars.keys() >= {"memory_total_mib", "load_1m", "hostname"}
    assert disks["mount"][0] == "/"
    assert [finding.line for finding in found] == [
        "host network cannot be read: AttributeError: sysfs"
    ]


def test_a_boot_has_an_id_even_where_proc_shows_only_processes(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("3f4e-11\n")

    assert system.boot_id(str(tmp_path / "boot_id")) == "3f4e-11"
    assert system.boot_id(str(tmp_path / "absent")).startswith("booted-in-minute-")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "Debian GNU/Linux 12 (bookworm)",
        ),
        ("PRETTY_NAME=Alpine\n", "Alpine"),
        ("NAME=x\n", None),
        ('PRETTY_NAME=""\n', None),
        ('PRETTY_NAME="open\n', "open"),
    ],
)
def test_the_operating_system_has_the_distributions_name(
    tmp_path: Path, text: str, name: str | None
) -> None:
    (tmp_path / "os-release").write_text(text)

    assert system.operating_system(str(tmp_path / "os-release")) == name
    assert system.operating_system(str(tmp_path / "absent")) is None
