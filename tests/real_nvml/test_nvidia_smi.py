"""NVIDIA's own nvidia-smi and the collector, both on the fake driver: every column must agree.

The fake driver lacks the functions that the driver of that nvidia-smi lacked.
"""

import itertools
import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from first_contact.columns import (
    GPU_FIELDS,
    check_details,
    check_gpus,
    check_processes,
    check_slices,
    query_gpus,
    query_processes,
)
from first_contact.nvidia_smi import LOST_CODE, Row, ask, parse_details, parse_slices
from first_contact.options import Options
from first_contact.record import Recorder, read_findings
from gpu_monitor.wire.document import GPU_COLUMNS
from tests.fake_nvml import Call, Driver, Gpu, Mig, Process, Scenario, library_folder, variables
from tests.fake_nvml.scenario import N_A
from tests.support import nvidia_smi

from .cache import DRIVERS
from .children import run_child, snapshot
from .driver_files import DriverFiles
from .generations import MISSING

BUSY = Gpu(
    name="NVIDIA A100-SXM4-80GB",
    memory_total_mib=81920,
    memory_used_mib=30123,
    utilization_percent=87,
    memory_controller_utilization_percent=33,
    temperature_celsius=66,
    slowdown_celsius=92,
    power_watts=311.4,
    power_limit_watts=400,
    fan_percent=41,
    sm_clock_mhz=1410,
    memory_clock_mhz=1593,
    throttle_reasons=0x44,
    processes=[
        Process(4242, memory_mib=20480, sm_utilization_percent=80),
        Process(4243, memory_mib=300, type="G"),
        Process(4244, memory_mib=700, type="C+G"),
    ],
)
DIVIDED = Gpu(
    memory_used_mib=5000,
    migs=[
        Mig(profile="3g.40gb", processes=[Process(os.getpid(), memory_mib=4096)]),
        Mig(profile="1g.10gb", gpu_instance=11),
    ],
)
UNKNOWN = Gpu(
    utilization_percent=N_A,
    temperature_celsius=N_A,
    slowdown_celsius=N_A,
    power_watts=N_A,
    power_limit_watts=N_A,
    fan_percent=N_A,
    sm_clock_mhz=N_A,
    memory_clock_mhz=N_A,
    throttle_reasons=N_A,
)
SHARED_MEMORY = Gpu(memory_total_mib=N_A, fan_percent=N_A)
LOST_LATER = [
    Call("nvmlDeviceGetHandle*"),
    Call("nvmlDeviceGetCount*"),
    Call("nvmlDevice*", gpu=1, error="GPU_IS_LOST"),
]
MACHINES = {
    "plain": Scenario([BUSY, Gpu()]),
    "divided": Scenario([DIVIDED, BUSY]),
    "unknown": Scenario([UNKNOWN, SHARED_MEMORY, BUSY]),
    "lost": Scenario([BUSY, Gpu(), UNKNOWN], calls=LOST_LATER),
}
ELSEWHERE = {
    "slowdown_celsius": "-q",
    "mig_profile": "-L",
    "pcie_generation": "pcie.link.gen.current, which moves with the load: read once a minute",
    "nvlinks_up": "nvlink -s",
    "energy_joules": "nothing of nvidia-smi's",
}
"""Columns that are not compared with a query, and where they could be."""
OWN = {
    *("state", "reason", "state_since", "parent", "memory_kind", "idle_since", "stalled_since"),
    *("health", "health_reasons", "activity", "processes_unread", "process_memory_mib"),
}
"""Columns that are no value of the driver's, but what the collector makes of several."""
NEWEST = pytest.mark.parametrize("driver", DRIVERS[-1:], indirect=True)
PLAIN = pytest.mark.parametrize("machine", [MACHINES["plain"]], ids=["plain"], indirect=True)


@pytest.fixture
def machine(
    driver: DriverFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> dict[str, Any]:
    """The collector's snapshot of a machine; nvidia-smi, too, then runs on it."""
    folder = library_folder(lacking=MISSING[driver.version[:3]])
    scenario: Scenario = request.param
    versions = Driver(version=driver.version, nvml_version=f"12.{driver.version}")
    Scenario(scenario.gpus, versions, scenario.calls).write(tmp_path / "scenario")
    for name, value in variables(folder, tmp_path / "scenario").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{driver.folder}:{os.environ['PATH']}")
    return dict(run_child(snapshot, os.environ))


def disagreements(tmp_path: Path, compare: Callable[[Recorder], None]) -> tuple[int, list[str]]:
    """How many checks there were, and which of them failed."""
    path = tmp_path / "findings"
    with path.open("w") as file:
        compare(Recorder(file))
    with path.open() as lines:
        checks = read_findings(lines)["checks"]
    return len(checks), [f"{check}" for check in checks if not check["passed"]]


def compare_all(record: Recorder, snapshot: dict[str, Any]) -> None:
    check_gpus(record, snapshot, [query_gpus(record)])
    processes = query_processes(record)
    parents = snapshot["gpus"]["parent"]
    for gpu in range(parents.count(None)):
        check_processes(record, Options(gpu=gpu), snapshot, processes)
    check_details(record, snapshot, parse_details(ask(record, "-q", "-d", "TEMPERATURE,PIDS")))
    check_slices(record, snapshot, parse_slices(ask(record, "-L")))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES, indirect=True)
def test_every_column_agrees_with_nvidia_smi(machine: dict[str, Any], tmp_path: Path) -> None:
    count, failed = disagreements(tmp_path, lambda record: compare_all(record, machine))
    assert failed == []
    assert count > 30


def test_every_column_is_compared_with_nvidia_smi() -> None:
    assert GPU_COLUMNS.keys() <= {field.column for field in GPU_FIELDS} | ELSEWHERE.keys() | OWN


@NEWEST
@PLAIN
def test_two_columns_that_are_swapped_disagree(machine: dict[str, Any], tmp_path: Path) -> None:
    names = [field.column for field in GPU_FIELDS if field.tolerance is not None]
    reported: list[Row] = []
    disagreements(tmp_path, lambda record: reported.extend(query_gpus(record)))
    for one, other in itertools.combinations(names, 2):
        gpus = machine["gpus"]
        swapped = {**machine, "gpus": {**gpus, one: gpus[other], other: gpus[one]}}
        _, failed = disagreements(
            tmp_path, partial(check_gpus, snapshot=swapped, reported=[reported])
        )
        assert len(failed) >= 2, (one, other)


@NEWEST
@PLAIN
def test_the_stand_in_prints_what_nvidia_smi_does(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reports() -> list[Any]:
        found: list[Any] = []
        disagreements(
            tmp_path,
            lambda record: found.extend(
                [
                    query_gpus(record),
                    sorted(query_processes(record), key=str),
                    [gpu.values["GPU Slowdown Temp"] for gpu in details(record)],
                    ask(record, "-L"),
                ]
            ),
        )
        return found

    def details(record: Recorder) -> list[Any]:
        return list(parse_details(ask(record, "-q", "-d", "TEMPERATURE")).values())

    real = reports()
    nvidia_smi.install(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert reports() == real


@NEWEST
@pytest.mark.parametrize("machine", [Scenario([BUSY, Gpu(lost=True)])], ids=["lost"], indirect=True)
def test_a_gpu_that_nvidia_smi_calls_lost_is_lost(
    machine: dict[str, Any], driver: DriverFiles
) -> None:
    done = subprocess.run([driver.nvidia_smi], capture_output=True, text=True)
    assert done.returncode == LOST_CODE
    assert "Unable to determine the device handle for" in done.stdout
    assert machine["gpus"]["state"] == ["ok", "lost"]


@pytest.mark.parametrize("machine", [MACHINES["divided"]], ids=["divided"], indirect=True)
def test_its_usual_table_has_gpus_slices_and_processes(
    machine: dict[str, Any], driver: DriverFiles
) -> None:
    done = subprocess.run([driver.nvidia_smi], capture_output=True, text=True)
    assert done.returncode == 0
    assert "| 41%   66C    P0" in done.stdout
    assert re.search(r"\|  0    7   0   0  \|  +4096MiB /  9856MiB", done.stdout)
    assert f"{os.getpid()}" in done.stdout
