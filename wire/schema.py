"""A foreign message becomes a snapshot, or a WireError that names what is wrong with it."""

import math
from itertools import chain, compress
from operator import ne
from typing import Any, cast

from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    GPU_HEALTH,
    GPU_STATES,
    PROCESS_TYPES,
    REQUIRED_COLUMNS,
    SYSTEM_FIELDS,
    TABLES,
    VERSION,
    Column,
    Kind,
    Scalars,
    Snapshot,
    Table,
)
from gpu_monitor.wire.limits import (
    MAX_COUNT,
    MAX_DEPTH,
    MAX_KEY,
    MAX_MEMBERS,
    MAX_ROWS,
    MAX_TEXT,
    MAX_UNKNOWN,
    MAX_WORDS,
    WireError,
    is_host_name,
)
from gpu_monitor.wire.shared_columns import Kept

_ALLOWED = {
    Kind.COUNT: frozenset({int}),
    Kind.NUMBER: frozenset({int, float}),
    Kind.TEXT: frozenset({str}),
    Kind.WORDS: frozenset({list}),
    Kind.ROW: frozenset({int}),
}
_ENUMS = {
    ("gpus", "state"): GPU_STATES,
    ("gpus", "health"): GPU_HEALTH,
    ("processes", "type"): PROCESS_TYPES,
}
_NONE = type(None)
_INTEGERS = ({int}, {int, _NONE})
_LIST = {list}
_STR = {str}
_NUMERIC = {
    what: frozenset(
        key for key, kind in kinds.items() if kind in (Kind.COUNT, Kind.NUMBER, Kind.ROW)
    ).difference(REQUIRED_COLUMNS[what])
    for what, kinds in TABLES.items()
}
_REPEATING = {
    "gpus": frozenset(
        (
            "index",
            "name",
            "state",
            "reason",
            "parent",
            "mig_profile",
            "memory_kind",
            "memory_total_mib",
            "power_limit_watts",
            "stalled_since",
            "throttle",
            "health",
            "health_reasons",
        )
    ),
    "processes": frozenset(
        (
            "gpu",
            "user",
            "uid",
            "effective_user",
            "command",
            "container",
            "slurm_job_id",
            "pod_uid",
            "state",
            "type",
        )
    ),
    "disks": frozenset(("mount",)),
}
"""Columns that are the same on many hosts, or whose texts are: kept once."""
_kept = Kept()
_SNAPSHOT_MEMBERS = len(Snapshot.__annotations__)


class _Room:
    """For how many more values of a newer collector a message has room."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_UNKNOWN

    def take(self, values: int, what: str) -> None:
        self._left -= values
        if self._left < 0:
            raise WireError("limit", f"at {what} there are over {MAX_UNKNOWN} unknown values")


def check_snapshot(message: object, previous: Snapshot | None = None) -> Snapshot:
    """`message` as a Snapshot, or WireError.

    What equals `previous` (an earlier result of this function for the same host) is taken over
    from it: the same objects, so that unchanged parts can be told by identity. Members that a
    newer collector adds pass through; its null scalars are left out, for in a merge patch null
    deletes. Never raises anything but WireError, whatever `message` holds.
    """
    snapshot = _object(message, "the message")
    if type(snapshot.get("version")) is not int or snapshot["version"] != VERSION:
        shown = repr(snapshot.get("version"))[:20]
        raise WireError("version", f"version {shown} is not {VERSION}: other major version")
    if not is_host_name(snapshot.get("name")):
        raise WireError("name", "name is not 1 to 253 of A-Z a-z 0-9 . _ : -")
    for key in ("boot_id", "run_id"):
        _text(snapshot.get(key), key, 64)
    _count(snapshot.get("sequence"), "sequence")
    for key in ("interval_seconds", "sampled_boottime", "sampled_at"):
        _number(snapshot.get(key), key)
    old: dict[str, Any] = cast(dict[str, Any], previous) if previous is not None else {}
    result, room = dict(snapshot), _Room()
    result["problems"] = _words(snapshot.get("problems", []), "problems")
    if result["problems"] == old.get("problems"):
        result["problems"] = old["problems"]
    for key, fields in (("system", SYSTEM_FIELDS), ("collector", COLLECTOR_FIELDS)):
        result[key] = _scalars(snapshot.get(key, {}), key, fields, old.get(key), room)
    for key in TABLES:
        result[key] = _table(snapshot.get(key, {}), key, old.get(key), room)
    _check_rows(result, old)
    if len(result) == _SNAPSHOT_MEMBERS:
        return cast(Snapshot, result)
    for key in result.keys() - Snapshot.__annotations__.keys():
        if result[key] is None:
            del result[key]
        else:
            result[key] = _unknown(result[key], key, room)
    return cast(Snapshot, result)


def _object(value: object, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise WireError("type", f"{what} is not an object")
    if len(value) > MAX_MEMBERS:
        raise WireError("limit", f"{what} has over {MAX_MEMBERS} members")
    if value and (set(map(type, value)) != _STR or max(map(len, value)) > MAX_KEY):
        raise WireError("type", f"{what} has a key that is no short text")
    return cast(dict[str, Any], value)


def _text(value: object, what: str, limit: int = MAX_TEXT) -> None:
    if type(value) is not str:
        raise WireError("type", f"{what} is not text")
    if len(value) > limit:
        raise WireError("limit", f"{what} is longer than {limit} characters")


def _count(value: object, what: str) -> None:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise WireError("value", f"{what} is not {Kind.COUNT.value}")


def _number(value: object, what: str) -> None:
    if type(value) is int:
        if abs(value) > MAX_COUNT:
            raise WireError("value", f"{what} is beyond 2^53")
    elif type(value) is not float or not math.isfinite(value):
        raise WireError("value", f"{what} is not {Kind.NUMBER.value}")


def _words(value: object, what: str) -> list[str]:
    if type(value) is not list:
        raise WireError("type", f"{what} is not {Kind.WORDS.value}")
    if len(value) > MAX_WORDS:
        raise WireError("limit", f"{what} has over {MAX_WORDS} texts")
    for word in value:
        _text(word, what)
    return value


def _scalars(
    value: object, what: str, fields: dict[str, Kind], previous: Scalars | None, room: _Room
) -> Scalars:
    if value == previous and type(value) is dict and previous is not None:
        return previous
    checked: Scalars = {}
    known = previous or checked
    for key, field in _object(value, what).items():
        if field is None:
            continue
        before = known.get(key)
        if field == before and type(field) is type(before):
            checked[key] = before
            continue
        kind = fields.get(key)
        if kind is None:
            field = _unknown(field, f"{what}.{key}", room)
        else:
            _check_values([field], kind, f"{what}.{key}")
        checked[key] = field
    return checked


def _table(value: object, what: str, previous: Table | None, room: _Room) -> Table:
    if previous and type(value) is dict:
        known = _known_table(value, what, previous)
        if known is not None:
            return known
    kinds = TABLES[what]
    table = _object(value, what)
    rows = -1
    same = previous is not None and len(table) == len(previous)
    for key, column in table.items():
        if type(column) is not list:
            raise WireError("type", f"{what}.{key} is not a list")
        if len(column) != rows:
            if rows >= 0:
                raise WireError("length", f"the columns of {what} differ in length at {key}")
            rows = len(column)
            if rows > MAX_ROWS[what]:
                raise WireError("limit", f"{what} has over {MAX_ROWS[what]} rows")
        if previous is not None and (old := previous.get(key)) == column and old is not None:
            table[key] = old
            continue
        same = False
        _check_column(column, kinds.get(key), what, key, room)
        if key in _REPEATING[what]:
            table[key] = _kept.once(column)
    if same and previous is not None:
        return previous
    for key in REQUIRED_COLUMNS[what] if rows > 0 else ():
        if None in table.get(key, (None,)):
            raise WireError("missing", f"{what}.{key} must have a value in every row")
    return table


def _known_table(table: Table, what: str, previous: Table) -> Table | None:
    """The usual case at a fifth of the cost: `previous` with other whole numbers in some columns.

    None says nothing but that the table has to be checked column by column.
    """
    if list(table) != list(previous):
        return None
    changed = list(compress(table, map(ne, table.values(), previous.values())))
    if not changed:
        return previous
    if not _NUMERIC[what].issuperset(changed):
        return None
    columns = [table[key] for key in changed]
    rows = len(next(iter(previous.values())))
    if set(map(type, columns)) != _LIST or set(map(len, columns)) != {rows}:
        return None
    values = list(chain.from_iterable(columns))
    types = set(map(type, values))
    if types not in _INTEGERS:
        return None
    if len(types) > 1:
        values = [value for value in values if value is not None]
    if min(values) < 0 or max(values) > MAX_COUNT:
        return None
    result = previous.copy()
    result.update(zip(changed, columns, strict=True))
    return result


def _check_column(column: Column, kind: Kind | None, what: str, key: str, room: _Room) -> None:
    name = f"{what}.{key}"
    if kind is None:
        room.take(len(column), name)
        for value in column:
            _unknown(value, name, room)
        return
    _check_values(column, kind, name)
    allowed = _ENUMS.get((what, key))
    if allowed is not None and not allowed.issuperset(v for v in column if v is not None):
        raise WireError("value", f"{name} holds another word than {', '.join(sorted(allowed))}")


def _check_values(values: Column, kind: Kind, what: str) -> None:
    types = set(map(type, values))
    if _NONE in types:
        types.remove(_NONE)
        values = [value for value in values if value is not None]
    if not types <= _ALLOWED[kind]:
        raise WireError("type", f"{what} is not {kind.value}")
    if not values:
        return
    if kind is Kind.TEXT:
        if max(map(len, values)) > MAX_TEXT:
            raise WireError("limit", f"{what} is longer than {MAX_TEXT} characters")
    elif kind is Kind.WORDS:
        for words in values:
            _words(words, what)
    else:
        if not all(map(math.isfinite, values)) if float in types else False:
            raise WireError("value", f"{what} is not {kind.value}")
        lowest = -MAX_COUNT if kind is Kind.NUMBER else 0
        if min(values) < lowest or max(values) > MAX_COUNT:
            raise WireError("value", f"{what} is not {kind.value}")


def _check_rows(result: dict[str, Any], old: dict[str, Any]) -> None:
    """Every `parent` and every process's `gpu` names a row of `gpus`."""
    gpus, processes = result["gpus"], result["processes"]
    if gpus is old.get("gpus") and processes is old.get("processes"):
        return
    rows = len(gpus.get("index", ()))
    for column, what in (
        (gpus.get("parent", ()), "gpus.parent"),
        (processes.get("gpu", ()), "processes.gpu"),
    ):
        if any(row is not None and row >= rows for row in column):
            raise WireError("value", f"{what} names a row that gpus does not have")


def _unknown(value: object, what: str, room: _Room, depth: int = MAX_DEPTH) -> object:
    """A value of a newer collector: any JSON within the limits, members that are null left out."""
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        _text(value, what)
    elif type(value) is int or type(value) is float:
        _number(value, what)
    elif depth == 0:
        raise WireError("limit", f"{what} is nested deeper than {MAX_DEPTH}")
    elif type(value) is list:
        if len(value) > MAX_ROWS["processes"]:
            raise WireError("limit", f"{what} is longer than {MAX_ROWS['processes']}")
        room.take(len(value), what)
        return [_unknown(member, what, room, depth - 1) for member in value]
    else:
        members = _object(value, what)
        room.take(len(members), what)
        known = ((key, member) for key, member in members.items() if member is not None)
        return {key: _unknown(member, what, room, depth - 1) for key, member in known}
    return value
