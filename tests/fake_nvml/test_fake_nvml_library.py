"""The fake NVML as a file: built, found through the environment, strict about its scenario."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fake_nvml import BuildError, Gpu, Scenario, library_folder, variables
from tests.fake_nvml.library import SONAME

HOME = Path(__file__).parent.parent.parent


@pytest.fixture
def probe(tmp_path: Path, processes: None) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Start Python code in a process that finds the fake through the environment."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> "subprocess.Popen[str]":
        extra = variables(library_folder(), tmp_path / "gpus.scenario")
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **extra},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_another_process_sees_the_scenario_change(
    tmp_path: Path, probe: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    scenario = tmp_path / "gpus.scenario"
    Scenario([Gpu(power_watts=1)]).write(scenario)
    process = probe(
        "import pynvml, sys\n"
        "pynvml.nvmlInit()\n"
        "gpu = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "while pynvml.nvmlDeviceGetPowerUsage(gpu) == 1000: print('1', flush=True)\n"
        "print(pynvml.nvmlDeviceGetPowerUsage(gpu))\n"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    Scenario([Gpu(power_watts=2)]).write(scenario)
    assert process.communicate(timeout=30)[0].splitlines()[-1] == "2000"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gpu 0]\nutilisation_percent = 5", "line 2: [gpu 0] has no key 'utilisation_percent'"),
        ("[gpu 0]\nfan_percent = much", "line 2: 'much' is not a number"),
        ("[gpu 0]\nfan_percent = nan", "line 2: 'nan' is not a number"),
        ("[gpu 0]\nfan_percent = 5 %", "line 2: '5 %' is not a number"),
        ("[gpu 0]\nlost = true", "line 2: 'true' is neither yes nor no"),
        ("[gpu 0]\nprocess = pid=1 mem=5", "line 2: process has no key 'mem'"),
        ("[gpu 0]\nprocess = memory_mib=5", "line 2: a process without pid"),
        ("[gpu 64]", "line 1: [gpu 64]: GPUs are numbered 0 to 63"),
        ("[gpus]", "line 1: no such section: [gpus]"),
        ("name = x", "line 1: 'name' comes before any [section]"),
        ("[driver]\nversion", "line 2: 'version' is neither"),
        ("[driver]\ninit_error = GONE", "line 2: 'GONE' is not an NVML error"),
        ("[call nvmlDeviceGetNane]", "line 1: [call nvmlDeviceGetNane]: the fake NVML has no"),
        ("[call *]\nhangs = yes", "line 2: [call *] has no key 'hangs'"),
        ("[gpu 0 mig 0]\nprofil = 1g", "line 2: [gpu 0 mig 0] has no key 'profil'"),
    ],
)
def test_a_typo_in_a_scenario_ends_the_process_with_the_line(
    tmp_path: Path, probe: Callable[[str], "subprocess.Popen[str]"], text: str, complaint: str
) -> None:
    (tmp_path / "gpus.scenario").write_text(text)
    process = probe("import ctypes; ctypes.CDLL('libnvidia-ml.so.1').nvmlInit_v2()")
    _, words = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGABRT
    assert words.startswith(f"fake NVML: {tmp_path / 'gpus.scenario'} {complaint}")


@pytest.mark.processes
def test_without_a_scenario_the_process_ends_with_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import ctypes; ctypes.CDLL('libnvidia-ml.so.1').nvmlInit_v2()"],
        env={**os.environ, "LD_LIBRARY_PATH": str(library_folder()), "FAKE_NVML_SCENARIO": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert "FAKE_NVML_SCENARIO names no scenario file" in done.stderr


@pytest.mark.processes
def test_a_library_can_lack_functions_as_an_old_one(tmp_path: Path) -> None:
    folder = library_folder(tmp_path, {"nvmlDeviceGetMemoryInfo_v2"})
    command = ["nm", "-D", "--defined-only", str(folder / SONAME)]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "nvmlDeviceGetMemoryInfo_v2" not in names
    assert "nvmlDeviceGetMemoryInfo" in names


def test_a_missing_compiler_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(BuildError, match="no C compiler: 'no-such-cc' is not in PATH"):
        library_folder(tmp_path)


@pytest.mark.processes
def test_the_command_prints_variables_for_a_shell() -> None:
    command = [sys.executable, "-m", "tests.fake_nvml"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("/tests/fake_nvml/lab.scenario")
    read = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"
    script = f'eval "$1"; exec {sys.executable} -c "{read}"'
    shell = ["sh", "-c", script, "sh", done.stdout]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stdout == "8\n"


@pytest.mark.processes
def test_the_command_refuses_a_missing_scenario() -> None:
    command = [sys.executable, "-m", "tests.fake_nvml", "no-such.scenario"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "no such scenario: no-such.scenario\n")
