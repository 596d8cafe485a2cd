"""The systemd units: accepted by systemd without warnings, and as restricted as possible."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_monitor.__main__ import BAD_CONFIG
from gpu_monitor.arguments import COMMANDS
from tests.support.house import ROOT

UNITS = {path.stem: path for path in ROOT.glob("ansible/roles/*/files/*.service")}
HIGHEST_EXPOSURE = {"gpu-monitor-collector": 20, "gpu-monitor-broker": 15, "gpu-monitor-web": 15}
"""In tenths of a point of `systemd-analyze security`; 100 is an unrestricted service."""
PROGRAM = "/opt/gpu-monitor/current/bin/gpu-monitor"


@pytest.fixture
def systemd_analyze(processes: None) -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed here (Debian: apt-get install systemd)")
    return found


class Unit:
    """The settings of a unit file; a key may occur several times."""

    def __init__(self, path: Path) -> None:
        self.lines = re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE)

    def values(self, key: str) -> list[str]:
        return [value for name, value in self.lines if name == key]


def test_every_service_has_a_unit() -> None:
    assert UNITS.keys() == HIGHEST_EXPOSURE.keys()


@pytest.mark.parametrize("name", HIGHEST_EXPOSURE)
def test_systemd_accepts_each_unit_without_warnings(
    systemd_analyze: str, name: str, tmp_path: Path
) -> None:
    here = tmp_path / f"{name}.service"
    here.write_text(UNITS[name].read_text().replace(PROGRAM, sys.executable))
    answer = subprocess.run(
        [systemd_analyze, "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Ignore complaints about other units of this machine.
    ours = [line for line in answer.stderr.splitlines() if "gpu-monitor" in line]
    assert (answer.returncode, ours) == (0, []), answer.stderr


@pytest.mark.parametrize(("name", "highest"), HIGHEST_EXPOSURE.items())
def test_the_exposure_of_a_service_is_within_its_limit(
    systemd_analyze: str, name: str, highest: int
) -> None:
    answer = subprocess.run(
        [systemd_analyze, "security", "--offline=yes", f"--threshold={highest}", UNITS[name]],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unrecognized option" in answer.stderr:
        pytest.skip("this systemd-analyze is too old to check a file")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("name", HIGHEST_EXPOSURE)
def test_a_unit_starts_an_existing_command(name: str) -> None:
    (start,) = Unit(UNITS[name]).values("ExecStart")
    command = name.removeprefix("gpu-monitor-")
    assert command in COMMANDS
    assert start == f"{PROGRAM} {command} --config /etc/gpu-monitor/config.yml"


@pytest.mark.parametrize("name", HIGHEST_EXPOSURE)
def test_a_service_is_restarted_unless_its_configuration_is_invalid(name: str) -> None:
    unit = Unit(UNITS[name])
    assert unit.values("Restart") == ["always"]
    assert unit.values("StartLimitIntervalSec") == ["0"]
    assert unit.values("RestartPreventExitStatus") == [str(BAD_CONFIG)]
    assert unit.values("Type") == ["notify"]
    assert unit.values("WatchdogSec") and unit.values("MemoryMax")


@pytest.mark.parametrize("name", HIGHEST_EXPOSURE)
def test_a_service_has_no_capability_and_allows_netlink_for_zeromq(name: str) -> None:
    unit = Unit(UNITS[name])
    assert unit.values("CapabilityBoundingSet") == unit.values("AmbientCapabilities") == [""]
    assert unit.values("NoNewPrivileges") == ["yes"]
    assert "AF_NETLINK" in unit.values("RestrictAddressFamilies")[0].split()
    assert not [
        words for words in unit.values("SystemCallFilter") if "~" in words and "@resources" in words
    ]


def test_the_collector_may_access_the_driver_and_the_owners_of_processes() -> None:
    unit = Unit(UNITS["gpu-monitor-collector"])
    assert unit.values("DevicePolicy") == ["closed"]
    allowed = set(unit.values("DeviceAllow"))
    assert {"char-195 rwm", "char-nvidia-caps rm", "/dev/dxg rw"} <= allowed
    for key in ("PrivateDevices", "ProtectProc", "ProcSubset", "PrivateUsers"):
        assert unit.values(key) == []


def test_the_collectors_device_files_are_made_before_it_starts_where_that_is_possible() -> None:
    commands = Unit(UNITS["gpu-monitor-collector"]).values("ExecStartPre")
    assert commands == [
        "+-/usr/bin/nvidia-modprobe -c 0 -u",
        "+-/usr/bin/nvidia-modprobe -f /proc/driver/nvidia/capabilities/mig/monitor",
    ]
    # "+" does not lift the limits of the control group: making a file takes "m".
    allowed = Unit(UNITS["gpu-monitor-collector"]).values("DeviceAllow")
    majors = {"char-195", "char-nvidia-uvm", "char-nvidia-caps"}
    assert majors == {each.split()[0] for each in allowed if each.endswith("m")}


def test_the_collector_opens_no_port_and_preserves_its_runtime_directory() -> None:
    unit = Unit(UNITS["gpu-monitor-collector"])
    assert unit.values("SocketBindDeny") == ["any"]
    assert unit.values("RuntimeDirectoryPreserve") == ["yes"]
