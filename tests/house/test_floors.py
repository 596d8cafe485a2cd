"""The plan of the house, read from the imports: floors, and what only one place may touch."""

import ast
import configparser
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import ROOT

ROOMS = ("gpu_monitor", "collector", "broker", "web", "wire")
FLOORS = {
    "gpu_monitor": {"collector", "broker", "web", "wire"},
    "collector": {"wire"},
    "broker": {"wire"},
    "web": {"wire"},
    "wire": set[str](),
}
"""Which other rooms a room may import. The roles never import each other."""
WALLS = {
    "collector/gpu": {
        "wire",
        "collector/clock",
        "collector/findings",
        "collector/source_guard",
        "collector/wire_fit",
        "collector/gpu",
        "collector/host",
    },
    "collector/host": {
        "wire",
        "collector/clock",
        "collector/settings",
        "collector/source_guard",
        "collector/host",
    },
    "web/auth": {"wire", "web/errors", "web/settings", "web/page", "web/auth"},
    "web/stream": {
        "wire",
        "web/errors",
        "web/rejections",
        "web/settings",
        "web/auth",
        "web/stream",
    },
    "web/api": {"wire", "web/errors", "web/settings", "web/auth", "web/stream", "web/api"},
    "web/page": {"web/page"},
    "wire/curve": {"wire", "wire/curve"},
}
"""What a folder of a room may import: rooms, folders, and modules directly in a room."""
FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]
SOCKETS = {
    "collector/pusher.py",
    "broker/intake.py",
    "broker/publisher.py",
    "wire/broker_link.py",
    "wire/curve/server.py",  # answers libzmq's authentication requests
}


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every name that a file imports, at any depth, with the level of a relative import."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}", node.level) for alias in node.names)


def packages(file: Path) -> set[str]:
    """The top-level packages that a file imports."""
    return {name.split(".")[0] for name, _ in imports(file)}


def places(file: Path) -> set[str]:
    """The places of our modules that a file imports: `web/auth` for a module in that folder,
    `web/errors` for one directly in its room, `wire` for any directly in that room."""
    found = set()
    for name, _ in imports(file):
        parts = name.split(".")
        if parts[0] != "gpu_monitor" or parts[1:2] == ["__version__"]:
            continue
        room, *inside = parts[1:] if parts[1] in ROOMS else parts
        if inside and (ROOT / room / inside[0]).is_dir():
            found.add(f"{room}/{inside[0]}")
        else:
            found.add(room if room == "wire" or not inside else f"{room}/{inside[0]}")
    return found


def importers(package: str) -> set[str]:
    return {str(file.relative_to(ROOT)) for file in FILES if package in packages(file)}


@pytest.mark.parametrize("name", NAMES)
def test_a_room_imports_only_from_the_floors_below(name: str) -> None:
    room = Path(name).parts[0]
    rooms = {place.split("/")[0] for place in places(ROOT / name)}
    assert rooms - {room} <= FLOORS[room]


@pytest.mark.parametrize("name", [name for name in NAMES if str(Path(name).parent) in WALLS])
def test_a_folder_imports_only_what_its_walls_allow(name: str) -> None:
    assert places(ROOT / name) <= WALLS[str(Path(name).parent)]


@pytest.mark.parametrize("name", NAMES)
def test_imports_are_absolute_and_name_the_package(name: str) -> None:
    assert [module for module, level in imports(ROOT / name) if level] == []
    assert packages(ROOT / name).isdisjoint({*ROOMS, "frontend"} - {"gpu_monitor"})


@pytest.mark.parametrize("room", [room for room in (*ROOMS, "frontend") if room != "gpu_monitor"])
def test_a_room_is_a_package_of_gpu_monitor_by_a_relative_link(room: str) -> None:
    assert os.readlink(ROOT / "gpu_monitor" / room) == f"../{room}"


def test_every_folder_with_modules_is_listed_as_a_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    dotted = {str(file.parent.relative_to(ROOT)).replace("/", ".") for file in FILES}
    names = {name if name.startswith("gpu_monitor") else f"gpu_monitor.{name}" for name in dotted}
    assert set(setup["options"]["packages"].split()) == names | {"gpu_monitor.frontend"}


def test_msgpack_is_imported_in_one_place_and_pynvml_where_nvml_is_called() -> None:
    assert importers("msgpack") == {"wire/codec.py"}
    names = ("gpm_samples", "nvml", "nvml_arrays", "nvml_handle", "nvml_links", "queries", "xid")
    assert importers("pynvml") == {f"collector/gpu/{name}.py" for name in names}


def test_msgspec_is_imported_where_snapshots_are_read_which_no_collector_loads() -> None:
    readers = ("changes", "full_reader", "schema")
    assert importers("msgspec") == {f"wire/{name}.py" for name in readers}


def test_zmq_sockets_are_made_in_five_files() -> None:
    makers = {
        str(file.relative_to(ROOT))
        for file in FILES
        if "zmq" in packages(file)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "socket"
        and ast.unparse(node.func.value) != "socket"
    }
    assert makers == SOCKETS


def test_the_collector_imports_no_event_loop_and_no_web_server() -> None:
    ends = {
        "wire/broker_link.py",
        "wire/curve/server.py",
    }  # the broker's and the subscribers' end of a link
    assert importers("asyncio") | importers("aiohttp") <= {
        name for name in NAMES if name in ends or not name.startswith(("collector/", "wire/"))
    }


def test_the_settings_of_a_role_import_nothing_but_the_standard_library() -> None:
    for role in ("collector", "broker", "web"):
        assert packages(ROOT / role / "settings.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_of_a_module_describes_it(name: str) -> None:
    first = (ROOT / name).read_text().split("\n", 1)[0]
    assert first.startswith('"""')
    assert first.removesuffix('"""').endswith(".")


def test_modules_do_not_import_each_other_in_a_cycle() -> None:
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
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name if name.split(".")[0] == "gpu_monitor" else f"gpu_monitor.{name}"


def siblings(file: Path) -> set[str]:
    """Our modules that a file imports at run time, not only for type checks."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & {module(file) for file in FILES if file.name != "__init__.py"}
