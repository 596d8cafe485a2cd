"""The table of readings by GPU family agrees with the document's columns and with the collector."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gpu_monitor.collector.columns import GpuRow, ProcessRow, gpu_columns, process_columns
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.wire.document import GPU_COLUMNS, PROCESS_COLUMNS
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Call, Gpu, Mig, Process, Scenario
from tests.support.house import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SECTION = re.split(r"^## ", OPERATIONS, flags=re.MULTILINE)
DERIVED = {
    *("idle_since", "activity", "stalled_since"),
    *("state", "reason", "state_since", "processes_unread"),
}
"""Columns that the collector makes of others, or that are about the reading itself."""
NULL = "\N{EN DASH}"
OWN = {"health", "health_reasons"}
"""Columns whose cells say what they are made of."""


def table() -> dict[str, dict[str, str]]:
    """By column of the document and family, what the page says; notes like (1) are left out."""
    (section,) = (part for part in SECTION if part.startswith("Readings by GPU family\n"))
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = [[re.sub(r" \(\d+\)", "", cell).strip() for cell in line] for line in lines]
    return {
        name: dict(zip(header[1:], cells, strict=True))
        for first, *cells in rows
        for name in re.findall(r"`(\w+)`", first)
    }


TABLE = table()
CARD = Gpu(utilization_percent=7, processes=[Process(os.getpid(), 100)])
SERVER = replace(CARD, fan_percent=N_A)
SHARED_MEMORY = replace(SERVER, memory_total_mib=N_A, power_limit_watts=N_A)


def without_sensors(gpu: Gpu) -> Gpu:
    return replace(
        gpu,
        temperature_celsius=N_A,
        slowdown_celsius=N_A,
        power_watts=N_A,
        power_limit_watts=N_A,
        fan_percent=N_A,
        energy_joules=N_A,
    )


DIVIDED = replace(SERVER, migs=[Mig(processes=[Process(os.getpid(), 100)])])
JETSON = without_sensors(SHARED_MEMORY)
NO_SHARES = Call("nvmlDeviceGetProcessUtilization", error="NOT_SUPPORTED")
NO_LISTS = [
    Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NOT_SUPPORTED")
    for kind in ("Compute", "MPSCompute", "Graphics")
]
NO_ROWS = Call("nvmlDeviceGetRemappedRows", error="NOT_SUPPORTED")
NO_MIG = Call("nvmlDeviceGetMigMode", error="NOT_SUPPORTED")
NO_LINK = [
    Call(f"nvmlDeviceGetCurrPcieLink{what}", error="NOT_SUPPORTED")
    for what in ("Generation", "Width")
]
FAMILIES: dict[str, tuple[Gpu, list[Call]]] = {
    "GeForce, RTX": (replace(CARD, ecc_uncorrected=N_A), [NO_MIG]),
    "V100, T4, A10, L4, L40S": (replace(SERVER, retired_pending=0), [NO_ROWS, NO_MIG]),
    "A100, H100, H200, B200": (replace(SERVER, slowdown_celsius=N_A, margin_celsius=40), []),
    "divided by MIG": (DIVIDED, [NO_ROWS, NO_SHARES]),
    "MIG slice": (DIVIDED, [NO_ROWS, NO_SHARES]),
    "GH200, GB200": (replace(SERVER, numa_node=1), []),
    "GB10": (replace(SHARED_MEMORY, ecc_uncorrected=N_A), [NO_ROWS, NO_MIG]),
    "Jetson Orin": (
        replace(JETSON, utilization_percent=N_A),
        [*NO_LISTS, *NO_LINK, NO_SHARES, NO_MIG],
    ),
    "Jetson Thor": (JETSON, [NO_SHARES]),
    "vGPU": (without_sensors(CARD), [NO_ROWS]),
    "WSL2": (CARD, [NO_SHARES, NO_MIG]),
}
"""What the driver is said to answer for each."""


@pytest.fixture
def opened(fake_nvml: FakeNvml) -> Iterator[FakeNvml]:
    fake_nvml.write(Scenario(gpus=[CARD]))
    nvml.open_library(Trace())
    yield fake_nvml
    nvml.close_library(Trace())


def read(family: str, fake: FakeNvml) -> GpuReading:
    """The third reading: shares of processes are known by then."""
    gpu, calls = FAMILIES[family]
    fake.write(Scenario(gpus=[gpu], calls=calls))
    device = Device(0, Handle.by_index(0, Trace()))
    reading = [device.read(float(second)) for second in range(3)][-1]
    return reading.slices[0] if family == "MIG slice" else reading


def columns(family: str, fake: FakeNvml) -> dict[str, Any]:
    """What the collector sends about this GPU and the process on it; without one, null."""
    reading = read(family, fake)
    parent = 0 if family == "MIG slice" else None
    gpus = gpu_columns([GpuRow(reading, parent)])
    rows = [ProcessRow(0, use, ProcessFacts(use.pid)) for use in reading.uses]
    processes = {name: column or [None] for name, column in process_columns(rows).items()}
    return {name: column[0] for name, column in (processes | gpus).items()}


def test_every_column_of_gpus_is_in_the_table_and_no_other() -> None:
    assert set(TABLE) - set(PROCESS_COLUMNS) == set(GPU_COLUMNS) - set(PROCESS_COLUMNS)
    assert set(TABLE) >= set(GPU_COLUMNS)


def test_a_test_knows_every_family_of_the_table() -> None:
    assert all(list(row) == list(FAMILIES) for row in TABLE.values())


def test_what_is_made_of_utilization_is_known_where_that_is() -> None:
    for family, cell in TABLE["idle_since"].items():
        assert (cell == NULL) == (TABLE["utilization_percent"][family] == NULL), family
    for family, cell in TABLE["stalled_since"].items():
        sources = ("utilization_percent", "power_watts", "power_limit_watts")
        assert (cell == NULL) == any(TABLE[name][family] == NULL for name in sources), family


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_card_does_not_report_is_null_and_all_else_is_known(
    opened: FakeNvml, family: str
) -> None:
    sent = columns(family, opened)

    assert sent["state"] == "ok"
    for name, row in TABLE.items():
        cell = row[family]
        if cell == NULL:
            assert sent[name] in (None, []), f"{name} of {family}"
        elif name not in DERIVED and (cell == "yes" or (name in OWN and cell != "?")):
            assert sent[name] is not None, f"{name} of {family}"
