"""NVIDIA's library of one generation, and the variables with which a process loads it."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.fake_nvml.library import compiler

from .cache import LIBRARY, NVIDIA_SMI

NVML_VERSION = re.compile(rb"\0\d+\.(\d{3}\.\d+\.\d+)\0")
SHIM = Path(__file__).parent / "device_nodes.c"
SHIM_FLAGS = "-std=gnu11 -O1 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden"


def build_shim(folder: Path) -> Path:
    """Compile the library that answers for /dev/nvidia*, for LD_PRELOAD."""
    target = folder / "device_nodes.so"
    command = [*compiler(), *shlex.split(SHIM_FLAGS), "-o", str(target), str(SHIM), "-ldl"]
    subprocess.run(command, check=True)
    return target


class DriverFiles(NamedTuple):
    """A folder with NVIDIA's library and nvidia-smi, and the shim for /dev/nvidia*."""

    folder: Path
    shim: Path

    @property
    def nvidia_smi(self) -> Path:
        return self.folder / NVIDIA_SMI

    @property
    def version(self) -> str:
        """Of the driver, like 550.163.01: NVML's own without its first number."""
        found = NVML_VERSION.search((self.folder / LIBRARY).read_bytes())
        assert found, f"no version in {self.folder / LIBRARY}"
        return found[1].decode()

    def environment(self, refusal: int = 0, module: str = "") -> dict[str, str]:
        """This process's variables, with `variables`."""
        return {**os.environ, **self.variables(refusal, module)}

    def variables(self, refusal: int = 0, module: str = "") -> dict[str, str]:
        """For a process in which opening /dev/nvidiactl fails with an errno, or reaches a kernel
        module of a version."""
        return {
            "LD_LIBRARY_PATH": str(self.folder),
            "LD_PRELOAD": str(self.shim),
            "DEVICE_NODES_ERRNO": str(refusal),
            "DEVICE_NODES_MODULE": module,
        }
