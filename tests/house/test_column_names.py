"""Lists of columns, and accesses to them, name columns that exist: a rename cannot miss one.

Nothing else would notice. A column that a list fails to name is stored once per host, left out of
a patch, or shown to a role that may not see it.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping

import pytest

from gpu_monitor.broker.history import TotalsHistory
from gpu_monitor.broker.seats import SEATING
from gpu_monitor.web.api.metric_names import TOTAL_METRICS, USER_METRICS
from gpu_monitor.wire.changes import NUMBER_MEMBERS
from gpu_monitor.wire.document import (
    BOOKKEEPING,
    IDENTITY_COLUMNS,
    REQUIRED_COLUMNS,
    SLOW_COLUMNS,
    SLOW_SYSTEM,
    FleetDocument,
    Host,
    Snapshot,
)
from gpu_monitor.wire.full_reader import SHARED_COLUMNS
from gpu_monitor.wire.schema import PARTS
from tests.support.house import ROOT

ROOMS = ("gpu_monitor", "collector", "broker", "web", "wire")
MODULES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
}

USE = "use"
"""The broker's own column of `gpus`."""
PUBLISHED: dict[str, set[str]] = {part: {*names} for part, names in PARTS.items()}
PUBLISHED["gpus"].add(USE)
COLUMNS = set().union(*PUBLISHED.values())
MEMBERS = {
    *COLUMNS,
    *(name for kind in (Snapshot, Host, FleetDocument) for name in kind.__annotations__),
    *(measure.field for measure in (*TOTAL_METRICS, *USER_METRICS)),
}
"""The names of all members of a message, and of the document but for those in OTHER_WORDS."""
OTHER_WORDS = {
    "broker/document.py": {"refused", "load"},
    "broker/history.py": {"until", "minute_seconds"},
    "web/api/free_query.py": {"memory_free_mib", "unhealthy"},
    "web/auth/redaction.py": {"refused", "load", "warnings", "until", "minute_seconds"},
    "wire/fleet_check.py": {"warnings"},
}
"""Words beside names of columns, by module: members of the broker, of the last hour and of the
answer of api/v1/free."""


@pytest.mark.parametrize(
    ("lists", "known"),
    [
        (SHARED_COLUMNS, PARTS),
        (REQUIRED_COLUMNS, PARTS),
        (IDENTITY_COLUMNS, PARTS),
        (SLOW_COLUMNS, PARTS),
        (NUMBER_MEMBERS, PARTS),
        (dict(zip(("gpus", "processes"), SEATING, strict=True)), PARTS),
        ({"system": SLOW_SYSTEM}, PARTS),
        ({"host": BOOKKEEPING}, {"host": Host.__annotations__}),
        ({"totals": TotalsHistory.KEYS}, {"totals": [each.field for each in TOTAL_METRICS]}),
    ],
)
def test_a_list_of_columns_names_only_columns_of_its_table(
    lists: Mapping[str, Iterable[str]], known: Mapping[str, Iterable[str]]
) -> None:
    for part, names in lists.items():
        assert set(names) - set(known[part]) == set(), part


def text_of(node: ast.expr | None) -> str | None:
    """The value of a literal text."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else None


def words_of(node: ast.AST) -> set[str]:
    """The texts in a literal collection; of a dictionary, its keys."""
    found: Iterable[ast.expr | None] = ()
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        found = node.elts
    elif isinstance(node, ast.Dict):
        found = node.keys
    return {text for each in found if (text := text_of(each)) is not None}


def is_slots(node: ast.Assign) -> bool:
    return ast.unparse(node.targets[0]) == "__slots__"


def strangers(source: str) -> set[str]:
    """The words that share a literal collection with two columns or more, and are no members."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = [each.value for each in nodes if isinstance(each, ast.Assign) and is_slots(each)]
    collections = [words_of(node) for node in nodes if node not in attributes]
    return {word for words in collections if len(words & COLUMNS) > 1 for word in words - MEMBERS}


def test_the_columns_in_a_collection_are_all_columns_that_exist() -> None:
    found = {name: strangers(source) for name, source in MODULES.items()}
    assert {name: words for name, words in found.items() if words} == OTHER_WORDS


def key_of(node: ast.AST) -> tuple[ast.expr, str] | None:
    """`x` and "key" of `x["key"]` and `x.get("key")`."""
    match node:
        case ast.Subscript(value, key):
            pass
        case ast.Call(func=ast.Attribute(value, "get" | "pop" | "setdefault"), args=[key, *_]):
            pass
        case _:
            return None
    text = text_of(key)
    return None if text is None else (value, text)


def name_of(node: ast.expr) -> str:
    """`gpus` for gpus, record.gpus, host["gpus"] and host.get("gpus")."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    access = key_of(node)
    return "" if access is None else access[1]


def accesses(source: str) -> Iterator[tuple[str, str]]:
    """Part and key of each access to a part of a host."""
    for node in ast.walk(ast.parse(source)):
        access = key_of(node)
        if access is not None and (part := name_of(access[0])) in PARTS:
            yield part, access[1]


def test_every_access_to_a_column_names_a_column_that_exists() -> None:
    found = [(name, *each) for name, source in MODULES.items() for each in accesses(source)]
    assert len(found) > 50
    assert [each for each in found if each[2] not in PUBLISHED[each[1]]] == []


def test_a_name_that_a_rename_missed_is_found() -> None:
    assert strangers('{"user": 1, "uid": 2, "acts_as": 3}') == {"acts_as"}
    assert strangers('frozenset(("gpu", "user", "job"))') == {"job"}
    assert strangers('("user", "light", "dark")') == set()
    assert strangers('class Row: __slots__ = ("user", "uid", "link")') == set()
    source = 'host["gpus"]["ailments"]; gpus.get("low"); host.get("processes", {})["job"]'
    assert set(accesses(source)) == {("gpus", "ailments"), ("gpus", "low"), ("processes", "job")}
