"""The plan of the house, read from the imports: floors, and what only one place may touch."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import ROOT

FLOORS = {
    "gpu_monitor": {"collector", "broker", "web", "wire"},
    "collector": {"wire"},
    "broker": {"wire"},
    "web": {"wire"},
    "wire": set[str](),
}
FILES = sorted(file for folder in FLOORS for file in (ROOT / folder).rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]
SOCKETS = {
    "collector/pusher.py",
    "broker/intake.py",
    "broker/publisher.py",
    "broker/gate.py",  # the one that libzmq asks whom to let in
    "web/subscriber.py",
}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in it, with the level of a relative import."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", node.level) for alias in node.names)


def absolute(file: Path) -> set[str]:
    """The top-level packages that a file imports by their full name."""
    return {name.split(".")[0] for name, level in imports(file) if level == 0}


def importers(package: str) -> set[str]:
    return {str(file.relative_to(ROOT)) for file in FILES if package in absolute(file)}


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_imports_only_the_floors_below(name: str) -> None:
    folder = Path(name).parts[0]
    assert absolute(ROOT / name) & FLOORS.keys() - {folder} <= FLOORS[folder]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("web/")])
def test_in_web_siblings_are_imported_relatively(name: str) -> None:
    assert "web" not in absolute(ROOT / name)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("web/")])
def test_elsewhere_imports_are_absolute(name: str) -> None:
    assert [module for module, level in imports(ROOT / name) if level] == []


def test_msgpack_is_imported_in_one_place_and_pynvml_where_nvml_is_called() -> None:
    assert importers("msgpack") == {"wire/codec.py"}
    names = ("calls", "events", "nvml", "samples")
    assert importers("pynvml") == {f"collector/{name}.py" for name in names}


def test_zmq_sockets_are_made_in_five_files() -> None:
    makers = {
        str(file.relative_to(ROOT))
        for file in FILES
        if "zmq" in absolute(file)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "socket"
        and ast.unparse(node.func.value) != "socket"
    }
    assert makers == SOCKETS


def test_the_collector_imports_no_event_loop_and_no_web_server() -> None:
    assert importers("asyncio") | importers("aiohttp") <= {
        name for name in NAMES if not name.startswith(("collector/", "wire/"))
    }


def test_the_settings_of_a_role_import_nothing_but_the_standard_library() -> None:
    for role in ("collector", "broker", "web"):
        assert absolute(ROOT / role / "settings.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_in_its_first_line_what_it_is(name: str) -> None:
    first = (ROOT / name).read_text().split("\n", 1)[0]
    assert first.startswith('"""')
    assert first.removesuffix('"""').endswith(".")


def test_the_modules_of_a_role_do_not_import_in_circles() -> None:
    graph = {module(file): siblings(file) for file in FILES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"{' -> '.join(path)} -> {name}"
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def siblings(file: Path) -> set[str]:
    """The modules of ours that a file needs when it is loaded: not those of type checks."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            base = f"{file.parent.name}." if node.level else ""
            stem = f"{base}{node.module or ''}".rstrip(".")
            names |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(map(module, FILES))
