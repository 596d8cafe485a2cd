"""gpu_check: when a reading agrees with nvidia-smi."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_monitor.wire.document import GPU_COLUMNS
from tests.gpu_check import GPU_FIELDS, Field, agrees, compare_gpus, compare_processes, parse
from tests.support.snapshots import check_snapshot, make_gpus, make_processes, make_snapshot

UUID = "GPU-00000000-1111-2222-3333-444444444444"
LINE = (
    f"0, {UUID}, NVIDIA H100 80GB HBM3, 00000000:00:00.0, "
    "81559, 4, 0, 0, 31, 71.22, 700.00, [N/A], 345, 2619\n"
)
SNAPSHOT = check_snapshot(make_snapshot(gpus=make_gpus(1)))


def test_equal_readings_agree_in_every_column() -> None:
    assert all(finding.agrees for finding in compare_gpus(SNAPSHOT, LINE))


def test_a_value_on_one_side_only_disagrees() -> None:
    found = compare_gpus(SNAPSHOT, LINE.replace("[N/A]", "40"))
    assert [f.what for f in found if not f.agrees] == ["GPU 0 fan_percent"]


def test_a_gpu_that_the_collector_does_not_have_disagrees() -> None:
    found = compare_gpus(SNAPSHOT, LINE.replace(UUID, "GPU-other"))
    assert not any(finding.agrees for finding in found if finding.reported is not None)


def test_a_process_is_found_by_gpu_and_pid() -> None:
    snapshot = check_snapshot(make_snapshot(processes=make_processes()))
    assert [f.agrees for f in compare_processes(snapshot, f"{UUID}, 4242, 2010\n")] == [True]
    assert [f.agrees for f in compare_processes(snapshot, f"{UUID}, 7, 2010\n")] == [False]


@pytest.mark.parametrize(("reported", "verdict"), [("105", True), ("106", False), (None, False)])
def test_a_moving_value_may_be_off_by_its_tolerance(reported: str | None, verdict: bool) -> None:
    assert agrees(Field("x_watts", "x", 5), 100, reported) is verdict


def test_every_spelling_of_not_available_is_unknown() -> None:
    fields = GPU_FIELDS[:3]
    assert parse("0, [Not Supported], [N/A]\n\n", fields) == [
        {"index": "0", "uuid": None, "name": None}
    ]


def test_every_compared_column_is_one_of_the_document() -> None:
    assert {field.column for field in GPU_FIELDS} <= GPU_COLUMNS.keys()


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has nvidia-smi")
def test_a_missing_driver_is_reported_and_is_no_failure() -> None:
    command = [sys.executable, "-m", "tests.gpu_check"]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "no NVIDIA driver here\n")
