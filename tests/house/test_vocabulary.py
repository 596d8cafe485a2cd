"""One vocabulary for the whole house: a name means the same everywhere in the code."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.house import ROOT

ROOMS = ("gpu_monitor", "collector", "broker", "web", "wire")
EVERYWHERE = {"run", "close"}
"""Method names allowed in any module, because they mean the same in all of them."""
MOST_MODULES = 4

TREES = {
    str(file.relative_to(ROOT)): ast.parse(file.read_text())
    for room in ROOMS
    for file in sorted((ROOT / room).rglob("*.py"))
}


def assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Name and value of each top-level assignment of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def methods(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield member.name


def test_a_public_method_name_is_in_four_modules_at_most() -> None:
    modules: dict[str, set[str]] = defaultdict(set)
    for name, tree in TREES.items():
        for method in methods(tree):
            if not method.startswith("_") and method not in EVERYWHERE:
                modules[method].add(name)
    assert {name: where for name, where in modules.items() if len(where) > MOST_MODULES} == {}


def test_a_constant_has_the_same_value_everywhere() -> None:
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for module, tree in TREES.items():
        for name, value in assignments(tree):
            if name.isupper():
                values[name][module] = ast.unparse(value)
    assert {name: of for name, of in values.items() if len(set(of.values())) > 1} == {}


def test_a_class_name_is_used_once() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(module)
    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


def test_every_logger_is_called_log() -> None:
    loggers = {
        (module, name)
        for module, tree in TREES.items()
        for name, value in assignments(tree)
        if "getLogger" in ast.unparse(value)
    }
    assert {(module, name) for module, name in loggers if name != "log"} == set()
    assert len(loggers) > 5


def test_no_module_has_a_catch_all_name() -> None:
    empty = {"utils", "util", "common", "helpers", "misc", "manager", "base", "data"}
    assert {Path(module).stem for module in TREES} & empty == set()
