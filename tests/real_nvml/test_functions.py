"""The functions that the collector calls, in each generation of NVIDIA's own library."""

import ast
import inspect
import re

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import FUNCTION_NOT_FOUND, UNINITIALIZED
from tests.support.house import ROOT

from .children import DriverFiles, functions, queries, run_child

LOOKED_UP = re.compile(r'_nvmlGetFunctionPointer\("(\w+)"\)')
SINCE_510 = {"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMPSComputeRunningProcesses_v3"} | {
    f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "Graphics")
}
SINCE_525 = {
    *("nvmlGpmMetricsGet", "nvmlGpmMigSampleGet", "nvmlGpmQueryDeviceSupport"),
    *("nvmlGpmSampleAlloc", "nvmlGpmSampleFree"),
}
SINCE_535 = {"nvmlDeviceGetCurrentClocksEventReasons"}
SINCE_570 = {"nvmlDeviceGetMarginTemperature"}
MISSING = {
    "470": SINCE_510 | SINCE_525 | SINCE_535 | SINCE_570,
    "535": SINCE_570,
    "550": SINCE_570,
}
"""What the library of a generation lacks of what the collector calls."""
UNANSWERED = {
    "470": {"memory", "slowdown_margin", "has_gpm", "GpmSample"},
    "535": {"slowdown_margin"},
    "550": {"slowdown_margin"},
}
"""Queries of the collector for which it has no other function, or asks another query."""


def called_functions() -> set[str]:
    """The C functions behind all that the collector uses of nvidia-ml-py."""
    names = {
        name
        for file in (ROOT / "collector" / "gpu").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if hasattr(pynvml, name := name_in(node))
    }
    return {function for name in names for function in functions_behind(name)}


def name_in(node: ast.AST) -> str:
    """A name of nvidia-ml-py, as in `pynvml.nvmlInit` or `getattr(pynvml, "nvmlInit", None)`."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pynvml":
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def functions_behind(name: str) -> set[str]:
    """The C functions that a wrapper of nvidia-ml-py looks up; none for a constant."""
    wrapper = getattr(pynvml, name)
    if not inspect.isfunction(wrapper):
        return set()
    source = inspect.getsource(wrapper)
    others = set(re.findall(r"\b(nvml[A-Z]\w+)\(", source)) - {name}
    found = set(LOOKED_UP.findall(source))
    return found.union(*(functions_behind(other) for other in others if hasattr(pynvml, other)))


def test_what_is_missing_of_the_functions_that_the_collector_calls(driver: DriverFiles) -> None:
    called = called_functions()
    present = run_child(functions, driver.environment(), *called)
    assert called - set(present) == MISSING[driver.version[:3]]
    assert len(called) > 40


def test_every_query_has_a_function_or_counts_as_not_supported(driver: DriverFiles) -> None:
    codes = run_child(queries, driver.environment())
    unanswered = {name for name, code in codes.items() if code == FUNCTION_NOT_FOUND}
    assert unanswered == UNANSWERED[driver.version[:3]]
    assert set(codes.values()) <= {FUNCTION_NOT_FOUND, UNINITIALIZED}
    assert len(codes) > 25
