"""tools/first_contact, rehearsed on a fake driver: what it will do on the first real card."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from first_contact.canaries import bytes_written
from first_contact.children import judge
from first_contact.columns import (
    GPU_FIELDS,
    Field,
    agrees,
    check_details,
    check_gpus,
    check_processes,
    check_slices,
)
from first_contact.load_stage import pids_by_memory
from first_contact.nvidia_smi import Slice, parse_details, parse_rows, parse_slices
from first_contact.nvml_calls import GPU_CALLS, SLICE_CALLS
from first_contact.options import Options
from first_contact.record import Recorder, read_findings
from first_contact.report import Report, exit_code, make_report
from first_contact.stages import STAGES
from gpu_monitor.wire.document import GPU_COLUMNS
from tests.fake_cuda import ReactingGpu, build
from tests.fake_nvml import Call, Driver, Gpu, Process, Scenario, library_folder, variables
from tests.support import nvidia_smi
from tests.support.house import ROOT
from tests.support.snapshots import make_gpus, make_processes, make_snapshot

QUICK = ("--pace", "0.1", "--calls", "20")
STEADY = ("--pace", "0.3")
"""Long enough for means over time when other tests keep the processors busy."""
SLOW = ["load", "columns"]
"""Stages that wait for slow readings of a collector."""
REHEARSED = [name for name in STAGES if name not in (*SLOW, "cost")]
NOT_ROOT = "not root: the stage `calls` was without privileges already"


class Bench:
    """A machine to rehearse on: a scenario, loads, and, if installed, nvidia-smi."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenario = folder / "gpus.scenario"
        self.loads = folder / "loads"
        self.programs = folder / "programs"
        for made in (self.loads, self.programs):
            made.mkdir()

    def write(self, scenario: Scenario) -> None:
        scenario.write(self.scenario)
        self.scenario.chmod(0o644)  # also for the stage without privileges

    def first_contact(self, *arguments: str) -> tuple[int, Report, str]:
        """Exit code, JSON and what it printed."""
        found = variables(library_folder(), self.scenario)
        environment = {
            **os.environ,
            **found,
            "LD_LIBRARY_PATH": f"{found['LD_LIBRARY_PATH']}:{self.folder}",
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "FAKE_CUDA_FOLDER": str(self.loads),
        }
        return run_first_contact(self.folder / "report.json", environment, *arguments)


def run_first_contact(
    path: Path, environment: dict[str, str], *arguments: str
) -> tuple[int, Report, str]:
    command = [sys.executable, "-m", "tools.first_contact", "--json", str(path), *QUICK, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert path.exists(), done.stderr
    return done.returncode, json.loads(path.read_text()), done.stdout


@pytest.fixture
def bench(processes: None) -> Iterator[Bench]:
    """Not in tmp_path, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="first-contact-test-") as folder:
        Path(folder).chmod(0o755)
        yield Bench(Path(folder))


def stage_of(report: Report, name: str) -> Any:
    return next(stage for stage in report["stages"] if stage["name"] == name)


def verdicts(report: Report) -> dict[str, str]:
    return {stage["name"]: stage["verdict"] for stage in report["stages"]}


@pytest.mark.parametrize("names", [REHEARSED, SLOW], ids=["quick", "slow"])
def test_every_stage_passes_on_a_gpu_that_is_as_we_think(bench: Bench, names: list[str]) -> None:
    nvidia_smi.install(bench.programs)
    build(bench.folder)
    chosen = [word for name in names for word in ("--stage", name)]
    with ReactingGpu(bench.loads, bench.scenario):
        code, report, printed = bench.first_contact("--provoke-xid", *STEADY, *chosen)
    reasons = {name: why for name in names if (why := stage_of(report, name)["reasons"])}
    root = os.getuid() == 0 or "calls_unprivileged" not in names
    assert reasons == ({} if root else {"calls_unprivileged": [NOT_ROOT]})
    assert code == 0, printed
    assert (report["format"], report["driver"]) == (1, "550.54.15")
    assert [card["index"] for card in report["cards"]] == [0]
    skipped = set() if root else {"calls_unprivileged"}
    passed = {name for name, verdict in verdicts(report).items() if verdict == "passed"}
    assert passed == {"facts", *names} - skipped


def test_cost_is_measured_whatever_else_this_machine_does(bench: Bench) -> None:
    build(bench.folder)
    with ReactingGpu(bench.loads, bench.scenario):
        _, report, _ = bench.first_contact("--stage", "cost")
    stage = stage_of(report, "cost")
    measured = ["collector's share of a core (%)", "the load's speed beside the collector"]
    assert [check["what"] for check in stage["checks"]] == measured
    assert all(check["seen"] > 0 for check in stage["checks"])
    assert stage["data"]["sample_seconds"]["median"] > 0


def test_a_call_that_hangs_costs_its_stage_and_is_named(bench: Bench) -> None:
    nvidia_smi.install(bench.programs)
    bench.write(Scenario([Gpu()], calls=[Call("nvmlDeviceGetFanSpeed", hang=True)]))
    code, report, printed = bench.first_contact("--stage", "calls", "--stage", "open_close")
    assert code == 3
    assert verdicts(report) == {"facts": "passed", "calls": "unchecked", "open_close": "passed"}
    calls = stage_of(report, "calls")
    assert calls["reasons"] == ["stopped after 7 s in nvmlDeviceGetFanSpeed of the gpu"]
    timed = [row["call"] for row in calls["data"]["calls"]]
    assert timed[-1] == "nvmlDeviceGetTotalEnergyConsumption"  # what came before is kept
    assert "unchecked  calls" in printed


def test_a_driver_that_hangs_at_once_is_told_apart_from_none(bench: Bench) -> None:
    nvidia_smi.install(bench.programs)
    bench.write(Scenario([Gpu()], calls=[Call("nvmlInitWithFlags", hang=True)]))
    code, report, _ = bench.first_contact("--stage", "calls")
    assert code == 3
    assert stage_of(report, "calls")["reasons"] == ["stopped after 7 s in nvmlInit"]


@pytest.mark.processes
def test_without_a_driver_nothing_passes_and_it_says_why(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}
    code, report, printed = run_first_contact(
        tmp_path / "report.json", environment, "--stage", "calls", "--stage", "gpm"
    )
    assert code == 3
    assert set(verdicts(report).values()) == {"unchecked"}
    assert (report["driver"], report["cards"]) == (None, [])
    assert "no NVIDIA driver: nvmlInit says 12" in printed
    assert "nvidia-smi is not in PATH" in printed


def test_without_a_gpu_it_says_so(bench: Bench) -> None:
    bench.write(Scenario([], driver=Driver(version="550.54.15")))
    code, report, printed = bench.first_contact("--stage", "canaries")
    assert (code, report["driver"], report["cards"]) == (3, "550.54.15", [])
    assert "no GPU: NVML lists none" in printed


def test_without_nvidia_smi_or_a_load_it_is_not_green(bench: Bench) -> None:
    bench.write(Scenario([Gpu()]))
    code, report, printed = bench.first_contact("--stage", "canaries", "--stage", "columns")
    assert code == 3
    assert set(verdicts(report).values()) == {"unchecked"}
    assert "nvidia-smi is not in PATH" in printed
    assert "no load on the GPU: tools.first_contact.cuda.CudaError: libcuda.so.1" in printed


def test_an_assumption_that_does_not_hold_fails(bench: Bench) -> None:
    nvidia_smi.install(bench.programs)
    bench.write(Scenario([Gpu(energy_joules=5)]))
    code, report, printed = bench.first_contact("--stage", "energy")
    assert code == 1
    assert stage_of(report, "energy")["verdict"] == "failed"
    assert "counter and power agree idle (W): 0.0, expected [56" in printed


def test_unsupported_calls_are_rows_of_the_table_not_failures(bench: Bench) -> None:
    nvidia_smi.install(bench.programs)
    bench.write(Scenario([Gpu(fan_percent="N/A"), Gpu(processes=[Process(1)])]))
    code, report, _ = bench.first_contact("--stage", "calls")
    assert code == 0
    data = stage_of(report, "calls")["data"]
    rows = {row["call"]: row for row in data["calls"]}
    assert rows["nvmlDeviceGetFanSpeed"]["code"] == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert rows["nvmlDeviceGetPowerUsage"]["value"] == 70000
    assert {row["gpu"] for row in data["others"]} == {1}


def test_every_nvml_call_of_the_collector_is_in_the_call_table() -> None:
    elsewhere = {  # opening, events and GPM samples have stages of their own
        *("nvmlInit", "nvmlShutdown", "nvmlLib", "nvmlMemory_v2", "nvmlEventTypeXidCriticalError"),
        *("nvmlEventSetCreate", "nvmlEventSetFree", "nvmlEventSetWait_v2"),
        *("nvmlDeviceRegisterEvents", "nvmlDeviceGetHandleByIndex", "nvmlGpmMetricsGet"),
        *("nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmMigSampleGet"),
    }
    made = {
        node.attr
        for file in (ROOT / "collector" / "gpu").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("nvml")
        if ast.unparse(node.value) == "pynvml"
    }
    timed = {call.name.split(",")[0] for call in (*GPU_CALLS, *SLICE_CALLS)}
    assert made - elsewhere - timed == set()


def test_a_write_past_the_struct_is_seen() -> None:
    def fill(buffer: Any) -> int:
        buffer[12] = 0xA5
        return 0

    assert bytes_written(8, 0, fill) == (0, 13)
    assert bytes_written(8, 0x1000008, lambda buffer: 25) == (25, 0)


def test_a_stage_that_is_cut_off_keeps_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "findings"
    with path.open("w") as file:
        record = Recorder(file)
        record.begin("step")
        record.check("holds", True, 1, 1)
        file.write('["check", {"what": "cut')
    with path.open() as lines:
        found = read_findings(lines)
    assert (found["doing"], found["done"], len(found["checks"])) == ("step", False, 1)


def test_a_stage_that_checks_nothing_has_not_passed() -> None:
    empty = read_findings(['["done", true]\n'])
    assert judge(empty, [], []) == "unchecked"
    assert judge(read_findings(['["skipped", "no GPM"]\n']), [], []) == "skipped"


def test_in_a_container_loads_are_found_by_their_memory() -> None:
    rows: dict[int, dict[str, Any]] = {
        900: {"gpu_memory_mib": 2500},
        901: {"gpu_memory_mib": 20500},
        902: {"gpu_memory_mib": None},
    }
    sizes = {"matmul": 20000, "part": 2000, "idle": 500}
    assert pids_by_memory(rows, sizes) == {"matmul": 901, "part": 900, "idle": 902}
    assert pids_by_memory({}, sizes) == {}


def test_a_report_of_nothing_but_skipped_stages_is_not_green() -> None:
    assert exit_code(make_report([], Options(), 0)) == 3


UUID = "GPU-00000000-1111-2222-3333-444444444444"
LINE = (
    f"0, {UUID}, NVIDIA H100 80GB HBM3, 00000000:00:00.0, Disabled, Default, "
    "81559, 4, 0, 0, 31, 71.22, 700.00, 0x0000000000000000, [N/A], 345, 2619, 16\n"
)
COLUMNS = [field.column for field in GPU_FIELDS]


def disagreements(tmp_path: Path, line: str, **parts: Any) -> list[str]:
    """What check_gpus and check_processes find wrong with a snapshot of one GPU."""
    snapshot: Any = make_snapshot(gpus=make_gpus(1), **parts)
    path = tmp_path / "findings"
    with path.open("w") as file:
        record = Recorder(file)
        check_gpus(record, snapshot, [parse_rows(LINE, COLUMNS), parse_rows(line, COLUMNS)])
    with path.open() as lines:
        return [c["what"] for c in read_findings(lines)["checks"] if not c["passed"]]


def test_equal_readings_agree_in_every_column(tmp_path: Path) -> None:
    assert disagreements(tmp_path, LINE) == []


def test_a_value_that_nvidia_smi_lacks_disagrees() -> None:
    assert not agrees(Field("x", "x", 5), 40, [None, None])
    assert not agrees(Field("x", "x", 5), None, ["40", "41"])
    assert agrees(Field("x", "x", 5), None, [None])


@pytest.mark.parametrize(("seen", "verdict"), [(100, True), (126, True), (93, False), (127, False)])
def test_a_moving_value_may_be_off_what_surrounds_it(seen: int, verdict: bool) -> None:
    assert agrees(Field("x_watts", "x", 5), seen, ["100", "121", "99"]) is verdict


def test_a_process_is_found_by_gpu_and_pid(tmp_path: Path) -> None:
    snapshot: Any = make_snapshot(gpus=make_gpus(1), processes=make_processes())
    uuid = snapshot["gpus"]["uuid"][0]
    path = tmp_path / "findings"
    with path.open("w") as file:
        record = Recorder(file)
        for pid in ("4242", "7"):
            row: dict[str, str | None] = {"gpu": uuid, "pid": pid, "gpu_memory_mib": "2010"}
            check_processes(record, Options(), snapshot, [row])
    with path.open() as lines:
        assert [check["passed"] for check in read_findings(lines)["checks"]] == [True, False]


DETAILS = """
Driver Version                            : 550.54.15
GPU 00000000:00:00.0
    Temperature
        GPU Slowdown Temp                 : 90 C
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 4242
            Type                          : M+C
            Used GPU Memory               : 2010 MiB
        Process ID                        : 7
            Type                          : G
GPU 00000000:01:00.0
    Temperature
        GPU Slowdown T.Limit Temp         : -2 C
"""
LISTING = """GPU 0: NVIDIA H100 (UUID: GPU-0)
GPU 1: NVIDIA H100 (UUID: GPU-1)
  MIG 1g.10gb     Device  0: (UUID: MIG-0)
  MIG 3g.40gb     Device  4: (UUID: MIG-4)
"""


def test_details_and_slices_are_read_from_what_nvidia_smi_lists() -> None:
    details = parse_details(DETAILS)
    assert list(details) == ["00000000:00:00.0", "00000000:01:00.0"]
    first = details["00000000:00:00.0"]
    assert first.values["GPU Slowdown Temp"] == "90 C"
    assert [(each["Process ID"], each["Type"]) for each in first.processes] == [
        ("4242", "M+C"),
        ("7", "G"),
    ]
    assert parse_slices(LISTING) == [
        Slice(1, 0, "1g.10gb", "MIG-0"),
        Slice(1, 4, "3g.40gb", "MIG-4"),
    ]


def test_details_and_slices_that_differ_are_found(tmp_path: Path) -> None:
    snapshot: Any = make_snapshot(gpus=make_gpus(2), processes=make_processes())
    snapshot["gpus"]["pci_bus_id"] = ["00000000:00:00.0", "00000000:01:00.0"]
    snapshot["gpus"]["slowdown_celsius"] = [89, 91]
    path = tmp_path / "findings"
    with path.open("w") as file:
        record = Recorder(file)
        check_details(record, snapshot, parse_details(DETAILS))
        check_details(record, snapshot, parse_details("GPU 00000000:09:00.0\n"))
        check_slices(record, snapshot, parse_slices(LISTING))
    with path.open() as lines:
        checks = read_findings(lines)["checks"]
    assert [(check["what"], check["passed"]) for check in checks] == [
        ("GPU 00000000:00:00.0 slowdown_celsius", False),
        ("pid 4242 type", True),
        ("pid 7 type", False),
        ("GPU 00000000:09:00.0 is in the snapshot", False),
        ("the slices are those of nvidia-smi -L", False),
    ]


def test_not_available_in_all_its_spellings_is_not_known() -> None:
    assert parse_rows("0, [Not Supported], [N/A]\n\n", COLUMNS[:3]) == [
        {"index": "0", "uuid": None, "name": None}
    ]


def test_every_compared_column_is_one_of_the_document() -> None:
    assert {field.column for field in GPU_FIELDS} <= GPU_COLUMNS.keys()
