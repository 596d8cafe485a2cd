"""Writes frontend/app/state/document.d.ts, the page's types of the document, from wire/document.py.

    python tools/document_types.py [--check]

`--check` writes nothing, and exits with 1 if the file is outdated.
"""

import importlib.util
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "wire" / "document.py"
TARGET = ROOT / "frontend" / "app" / "state" / "document.d.ts"

KINDS = {
    "COUNT": "number",
    "NUMBER": "number",
    "TEXT": "string",
    "WORDS": "string[]",
    "ROW": "number",
}
SCALARS = {int: "number", float: "number", str: "string", bool: "boolean"}
INTERFACES = {
    "gpus": "Gpus",
    "processes": "Processes",
    "disks": "Disks",
    "system": "System",
    "collector": "Collector",
    "broker": "Broker",
    "totals": "Partial<Totals>",
    "users": "Record<string, User>",
    "hosts": "Record<string, Host>",
    "findings": "Findings",
}
"""Types of members that Python declares as plain dictionaries and lists."""
HOST_STATES = ("live", "stale", "missing", "conflict")
USES = ("busy", "free", "held_idle")
BEFORE_A_BROKER = frozenset({"now", "interval_seconds", "tick_seconds", "simulated"})
"""Members of a fleet that are absent until the web server has received from a broker."""

HEAD = """\
// The document as wire/document.py declares it, which wins: names, units, and what may be absent.
// Written by tools/document_types.py; edit that, or its source.

import type { Broker, Totals, User, Web } from "../types.js";

/** One value per row; null is not known. */
export type Column<T> = (T | null)[];
"""


def load(path: Path) -> types.ModuleType:
    """Load the module at `path` under a unique name."""
    spec = importlib.util.spec_from_file_location("declared_document", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ordered(words: Iterable[str]) -> list[str]:
    """Sorted, but with "ok" first, to make the order of a set reproducible."""
    return sorted(words, key=lambda word: (word != "ok", word))


def union(words: Iterable[str]) -> str:
    return " | ".join(f'"{word}"' for word in words)


def interface(name: str, members: Iterable[str], comment: str = "") -> str:
    lines = "".join(f"  {member};\n" for member in members)
    head = f"/** {comment} */\n" if comment else ""
    return f"\n{head}export interface {name} {{\n{lines}}}\n"


def table(columns: Mapping[str, typing.Any], required: Iterable[str], **narrow: str) -> list[str]:
    """The members of a table's interface; `narrow` overrides the types of kinds."""
    return [
        f"{name}{'' if name in required else '?'}: Column<{narrow.get(name, KINDS[kind.name])}>"
        for name, kind in columns.items()
    ]


def fields(kinds: Mapping[str, typing.Any]) -> list[str]:
    return [f"{name}?: {KINDS[kind.name]}" for name, kind in kinds.items()]


def members(declared: type, optional: Iterable[str]) -> list[str]:
    """The members of a TypedDict's interface."""
    found = []
    for name, hint in typing.get_type_hints(declared).items():
        kind = INTERFACES.get(name) or SCALARS[hint]
        found.append(f"{name}{'?' if name in optional else ''}: {kind}")
    return found


def document_types(document: types.ModuleType) -> str:
    """The content of the file."""
    required = document.REQUIRED_COLUMNS
    gpu_state, process_type = (
        union(ordered(document.GPU_STATES)),
        union(ordered(document.PROCESS_TYPES)),
    )
    activity = union(ordered(document.GPU_ACTIVITY))
    gpus = table(document.GPU_COLUMNS, required["gpus"], state=gpu_state, activity=activity)
    host = [
        f"state: {union(HOST_STATES)}" if member.startswith("state: ") else member
        for member in members(document.Host, set(document.Host.__annotations__) - {"state"})
    ]
    fleet = [*members(document.FleetDocument, BEFORE_A_BROKER), "web?: Web"]
    parts = [
        HEAD,
        f"\n/** The broker's verdict on a GPU. */\nexport type Use = {union(USES)};\n",
        interface(
            "Gpus",
            [*gpus, "use?: Column<Use>", "use_reason?: Column<string>"],
            "`use` and `use_reason` are added by the broker.",
        ),
        interface(
            "Processes",
            table(document.PROCESS_COLUMNS, required["processes"], type=process_type),
        ),
        interface("Disks", table(document.DISK_COLUMNS, required["disks"])),
        interface(
            "Findings",
            table(
                document.FINDING_COLUMNS,
                required["findings"],
                severity=union(document.SEVERITIES),
            ),
            "One row for each fault of a host.",
        ),
        interface("System", fields(document.SYSTEM_FIELDS)),
        interface("Collector", fields(document.COLLECTOR_FIELDS)),
        interface(
            "Host", host, "`heard_at` is unix seconds by the broker's clock, exact unless live."
        ),
        interface("Fleet", fleet, "`now` is unix seconds by the broker's clock."),
    ]
    return "".join(parts)


def main(arguments: list[str], target: Path = TARGET) -> int:
    wanted = document_types(load(SOURCE))
    if arguments == ["--check"]:
        if target.exists() and target.read_text() == wanted:
            return 0
        print(f"{target} is outdated: python tools/document_types.py")
        return 1
    target.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
