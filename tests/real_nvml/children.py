"""Parts of the collector that run in a process of their own, with NVIDIA's library loaded.

`python -m tests.real_nvml.children PROGRAM ...` runs one and prints what it found as JSON.
"""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pynvml

from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.gpm_samples import GpmSample
from gpu_monitor.collector.gpu.nvml_errors import NvmlError
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.host.processes import no_facts
from gpu_monitor.collector.snapshot import Origin, SnapshotBuilder, Sources
from gpu_monitor.wire.document import Scalars, Table

from .cache import LIBRARY

ROOT = Path(__file__).parent.parent.parent
CHILD_SECONDS = 60
NO_DISKS: Table = {"mount": [], "total_mib": [], "used_mib": []}


def run_child(program: Callable[..., object], environment: Mapping[str, str], *words: str) -> Any:
    """What `program`, one of this module's, returns in a process of its own."""
    command = [sys.executable, "-m", __name__, program.__name__, *words]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusals(module_folder: str, *numbers: str) -> list[Any]:
    """NVML's code for an opening, and what the collector says of it, while opening /dev/nvidiactl
    fails with one errno after the other."""
    driver = _driver(module_folder)
    found = []
    for attempt, number in enumerate(numbers):
        os.environ["DEVICE_NODES_ERRNO"] = number
        found.append(_opened(driver, attempt))
    return found


def upgrade(module_folder: str, library_folder: str) -> list[Any]:
    """The same before and after the library there is replaced by libnvidia-ml.so.2, which it is
    while it is loaded."""
    driver = _driver(module_folder)
    before = _opened(driver, 0)
    library = Path(library_folder, LIBRARY)
    library.with_suffix(".2").replace(library)
    return [before, _opened(driver, 1)]


def growth(module_folder: str, openings: str) -> dict[str, int]:
    """What the second half of so many openings adds to this process: KiB of memory, open files."""
    driver = _driver(module_folder)
    held = []
    for attempt in range(int(openings)):
        driver.open(10.0 * attempt, is_calm=True)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held.append((pages * os.sysconf("SC_PAGESIZE") >> 10, len(os.listdir("/proc/self/fd"))))
    (memory, files), (memory_before, files_before) = held[-1], held[len(held) // 2]
    return {"memory_kib": memory - memory_before, "files": files - files_before}


def _driver(module_folder: str) -> Driver:
    return Driver(f"{module_folder}/pci", f"{module_folder}/gpus")


def _opened(driver: Driver, attempt: int) -> list[Any]:
    driver.open(10.0 * attempt, is_calm=True)
    assert driver.finding is not None
    return [_opening_code(), driver.finding.severity, driver.finding.line]


def _opening_code() -> int:
    try:
        nvml.open_library(Trace())
    except NvmlError as error:
        return error.code
    return 0


def queries() -> dict[str, int]:
    """NVML's code for each query of the collector about a GPU, before nvmlInit.

    A library without the function returns FUNCTION_NOT_FOUND, one that has it UNINITIALIZED. The
    handle is not looked at.
    """
    pynvml._LoadNvmlLibrary()
    handle = Handle(None, Trace())
    found = {
        name: _code(method, handle, *_arguments(method))
        for name, method in inspect.getmembers(Handle, inspect.isfunction)
        if not name.startswith("_")
    }
    return {**found, "GpmSample": _code(GpmSample, handle)}


def _arguments(method: Callable[..., object]) -> list[int]:
    return [0] * (len(inspect.signature(method).parameters) - 1)


def _code(query: Callable[..., object], *arguments: object) -> int:
    try:
        query(*arguments)
    except NvmlError as error:
        return error.code
    return 0


def snapshot() -> Any:
    """The first snapshot of a collector, with nothing known of processes but what NVML says."""
    watchdog = Watchdog(Driver(), CHILD_SECONDS, CHILD_SECONDS)
    sources = Sources(moment, watchdog.collect, no_facts, lambda now: ({}, NO_DISKS), _no_cost)
    return SnapshotBuilder(Origin("host", "boot", "run", 1.0), sources, IdleTimes()).build()


def _no_cost(now: float, seconds: float) -> Scalars:
    return {}


def error_texts(*codes: str) -> list[str]:
    """How the library itself names its errors."""
    pynvml._LoadNvmlLibrary()
    return [pynvml.nvmlErrorString(int(code)) for code in codes]


def functions(*names: str) -> list[str]:
    """Which of these functions the library has."""
    pynvml._LoadNvmlLibrary()
    return [name for name in names if hasattr(pynvml.nvmlLib, name)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
