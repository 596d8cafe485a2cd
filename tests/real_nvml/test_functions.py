"""The functions that the collector calls, in each generation of NVIDIA's own library."""

import ast
import inspect
import os
import re
from pathlib import Path
from typing import Any

import pynvml
import pytest

from gpu_monitor.collector.gpu.nvml_errors import FUNCTION_NOT_FOUND, UNINITIALIZED
from tests.fake_nvml import Gpu, Mig, Process, Scenario, library_folder, variables
from tests.support.house import ROOT
from tests.support.nvml_calls import ERRORS

from .cache import DRIVERS
from .children import error_texts, functions, queries, run_child, snapshot
from .driver_files import DriverFiles
from .generations import MISSING

LOOKED_UP = re.compile(r'_nvmlGetFunctionPointer\("(\w+)"\)')
UNANSWERED = {
    "470": {"numa_node", "slowdown_margin", "has_gpm", "GpmSample"},
    "535": {"numa_node", "slowdown_margin"},
    "550": {"slowdown_margin"},
}
"""Queries of the collector for which it has no other function, or asks another query."""


RESERVED_MIB = 512
"""A driver before 510 counts it as used. A slice has none."""
BUSY = Gpu(
    utilization_percent=87,
    throttle_reasons=0x44,
    processes=[Process(4242), Process(4243, type="G"), Process(4244, type="M")],
)
DIVIDED = Gpu(migs=[Mig(processes=[Process(4245)])])


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


@pytest.mark.parametrize("driver", DRIVERS[-1:], indirect=True)
def test_the_fake_driver_names_errors_as_the_newest_does(driver: DriverFiles) -> None:
    codes = [str(code) for code in ERRORS]
    real = run_child(error_texts, driver.environment(), *codes)
    fake = run_child(error_texts, os.environ | {"LD_LIBRARY_PATH": str(library_folder())}, *codes)
    assert fake == real


@pytest.mark.processes
def test_a_driver_that_lacks_functions_is_read_like_one_that_has_them(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario"
    Scenario([BUSY, DIVIDED]).write(scenario)
    newest, *others = (read(scenario, lacking) for lacking in (set(), *MISSING.values()))
    used = newest["gpus"]["memory_used_mib"]
    with_reserve = [used[0] + RESERVED_MIB, used[1] + RESERVED_MIB, used[2]]
    assert [each["gpus"]["memory_used_mib"] for each in others] == [with_reserve, used, used]
    for each in others:
        each["gpus"]["memory_used_mib"] = used
    assert others == [newest] * len(others)


def read(scenario: Path, lacking: set[str]) -> dict[str, Any]:
    """The collector's snapshot on a fake driver without some functions, less the times in it."""
    environment = {**os.environ, **variables(library_folder(lacking=lacking), scenario)}
    found = run_child(snapshot, environment)
    tables = {name: found[name] for name in ("gpus", "processes", "findings")}
    return {
        name: {key: column for key, column in table.items() if not key.endswith("since")}
        for name, table in tables.items()
    }
