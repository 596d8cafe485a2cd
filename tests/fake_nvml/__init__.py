"""The fake NVML: a C library that the real nvidia-ml-py loads, driven by a scenario file."""

from .library import BuildError, FakeNvml, library_folder, variables
from .scenario import N_A, Call, Driver, Gpu, Mig, Process, Scenario, Value, error, wave

__all__ = [
    "N_A",
    "BuildError",
    "Call",
    "Driver",
    "FakeNvml",
    "Gpu",
    "Mig",
    "Process",
    "Scenario",
    "Value",
    "error",
    "library_folder",
    "variables",
    "wave",
]
