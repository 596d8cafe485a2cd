"""NVML's library: found where the dynamic linker does not look for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.nvml import LIBRARY_FOLDERS
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Gpu, Scenario

OPEN = """
import sys
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.nvml_errors import NvmlError
from gpu_monitor.collector.gpu.queries import Trace
try:
    nvml.open_library(Trace(), sys.argv[1:])
    print(nvml.device_count(Trace()))
except NvmlError as error:
    print(error)
"""


@pytest.mark.processes
def test_the_library_is_found_in_the_first_folder_that_has_it(
    fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    environment = fake_nvml.environment()
    folder = environment.pop("LD_LIBRARY_PATH").split(":")[0]

    def opened(*folders: str) -> str:
        command = [sys.executable, "-c", OPEN, *folders]
        return subprocess.check_output(command, env=environment, text=True, timeout=60)

    assert opened(str(tmp_path), folder) == "2\n"
    assert opened(str(tmp_path)) == "no NVIDIA driver here (libnvidia-ml.so.1 not found)\n"


def test_the_folders_of_nixos_driver_containers_and_wsl_are_searched() -> None:
    assert {"/run/opengl-driver/lib", "/run/nvidia/driver/usr/lib64", "/usr/lib/wsl/lib"} <= set(
        LIBRARY_FOLDERS
    )
