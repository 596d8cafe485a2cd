"""NVML as a library, through nvidia-ml-py: loaded, opened, closed, unloaded.

Every function may block for as long as the driver does; those that may fail raise NvmlError.
"""

import _ctypes
import contextlib
import ctypes
import os
from collections.abc import Iterable

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import LIBRARY_NOT_FOUND, NvmlError
from gpu_monitor.collector.gpu.queries import Trace

_LIBRARY = "libnvidia-ml.so.1"
LIBRARY_FOLDERS = (
    "/run/opengl-driver/lib",  # NixOS
    f"/run/nvidia/driver/usr/lib/{os.uname().machine}-linux-gnu",  # NVIDIA's driver container
    "/run/nvidia/driver/usr/lib64",
    "/usr/local/nvidia/lib64",  # Google's Kubernetes: in a container, on the host
    "/home/kubernetes/bin/nvidia/lib64",
    "/usr/lib/wsl/lib",
)
"""Where the library is when the dynamic linker does not know it."""


def library_paths(folders: Iterable[str] = LIBRARY_FOLDERS) -> list[str]:
    """Where to load the library from, first by the dynamic linker's own search."""
    return [_LIBRARY, *(f"{folder}/{_LIBRARY}" for folder in folders)]


def open_library(trace: Trace, folders: Iterable[str] = LIBRARY_FOLDERS) -> None:
    """Load NVML and initialize it; fails where there is no driver to talk to.

    `folders` are searched where the dynamic linker does not find it.
    """
    try:
        trace.call(pynvml.nvmlInit)
    except NvmlError as error:
        if error.code != LIBRARY_NOT_FOUND or not _loaded_from(folders):
            raise
        trace.call(pynvml.nvmlInit)


def close_library(trace: Trace) -> None:
    """Shut NVML down, which voids every Handle; raises nothing where it was not open."""
    with contextlib.suppress(NvmlError):
        trace.call(pynvml.nvmlShutdown)


def unload_library() -> None:
    """Unload the library's file, so that the next opening loads the one that has replaced it.

    Only after `close_library`, and with no thread in a call. nvidia-ml-py has no function for it:
    if a later version keeps its C functions elsewhere, the old file stays loaded.
    """
    library = getattr(pynvml, "nvmlLib", None)
    functions = getattr(pynvml, "_nvmlGetFunctionPointer_cache", None)
    if library is None or functions is None:
        return
    functions.clear()
    pynvml.nvmlLib = None
    _ctypes.dlclose(library._handle)


def device_count(trace: Trace) -> int:
    """How many GPUs the driver lists, those that cannot be opened among them."""
    return int(trace.call(pynvml.nvmlDeviceGetCount))


def versions(trace: Trace) -> tuple[str | None, str | None]:
    """The driver's version and the newest CUDA version it supports, like ("550.54", "12.4").

    None for one that it does not report.
    """
    driver = cuda = None
    with contextlib.suppress(NvmlError):
        driver = str(trace.call(pynvml.nvmlSystemGetDriverVersion))
    with contextlib.suppress(NvmlError):
        number = int(trace.call(pynvml.nvmlSystemGetCudaDriverVersion_v2))
        cuda = f"{number // 1000}.{number % 1000 // 10}"
    return driver, cuda


def _loaded_from(folders: Iterable[str]) -> bool:
    """Load the first library found; the package then finds it by its name, as the same library."""
    for folder in folders:
        with contextlib.suppress(OSError):
            ctypes.CDLL(f"{folder}/{_LIBRARY}", mode=ctypes.RTLD_GLOBAL)
            return True
    return False
