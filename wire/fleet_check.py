"""Whether a broker's document, and each patch on it, is what subscribers may rely on; pure.

Whatever listens at updates_port is believed to be a broker only as far as its messages have the
shape of one: a subscriber that looks up `now` or adds up a column must find it.
"""

from itertools import chain
from typing import Any, TypeAlias

from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    REQUIRED_COLUMNS,
    SYSTEM_FIELDS,
    TABLES,
    VERSION,
    Kind,
)
from gpu_monitor.wire.update import UpdateError

Types: TypeAlias = frozenset[type]

_NUMBER: Types = frozenset((int, float))
_TEXT: Types = frozenset((str,))
_OBJECT: Types = frozenset((dict,))
_NULL: Types = frozenset((type(None),))
_LIST: Types = frozenset((list,))
_TOP: dict[str, Types] = {
    "version": frozenset((int,)),
    **dict.fromkeys(("now", "interval_seconds", "tick_seconds", "stale_after_seconds"), _NUMBER),
    "simulated": frozenset((bool,)),
    **dict.fromkeys(("broker", "totals", "users", "hosts"), _OBJECT),
}
_VALUE_TYPES: dict[Kind, Types] = {
    Kind.COUNT: _NUMBER,
    Kind.NUMBER: _NUMBER,
    Kind.TEXT: _TEXT,
    Kind.WORDS: _LIST,
    Kind.ROW: frozenset((int,)),
}
_SCALAR_PARTS = {"system": SYSTEM_FIELDS, "collector": COLLECTOR_FIELDS}
_REFERENCES = (("gpus", "parent"), ("processes", "gpu"), ("findings", "gpu"))


def check_fleet(fleet: dict[str, Any], patch: dict[str, Any]) -> None:
    """Raises UpdateError unless `fleet`, which `patch` has led to, has the shape of a document.

    Looks only at what the patch changes: for a picture that is the document itself.
    """
    for key, types in _TOP.items():
        if type(fleet.get(key)) not in types:
            raise UpdateError(f"{key} is missing or of another type")
    if fleet["version"] != VERSION:
        raise UpdateError(f"its version is not {VERSION}")
    _check_broker(fleet["broker"])
    _only(fleet["totals"], "totals", _NUMBER)
    for name in patch.get("users") or ():
        if name in fleet["users"]:
            _check_user(fleet["users"][name])
    for name, changed in (patch.get("hosts") or {}).items():
        if name in fleet["hosts"]:
            _check_host(fleet["hosts"][name], changed)


def _check_broker(broker: dict[str, Any]) -> None:
    _require(broker, "broker", {"state": _TEXT})
    _allow(broker, "broker", {"version": _TEXT, "started_at": _NUMBER, "warnings": _LIST})
    for key in ("refused", "load"):
        _allow(broker, "broker", {key: _OBJECT})
        _only(broker.get(key, {}), f"broker.{key}", _NUMBER)


def _check_user(user: object) -> None:
    if type(user) is not dict:
        raise UpdateError("a user is of another type")
    _allow(user, "a user", {"hosts": _LIST})
    _only(user, "a user", _NUMBER | _LIST)


def _check_host(host: object, changed: Any) -> None:
    if type(host) is not dict:
        raise UpdateError("a host is of another type")
    _require(host, "a host", {"state": _TEXT})
    _allow(host, "a host", {"heard_at": _NUMBER, "clock_offset_seconds": _NUMBER})
    for part, kinds in _SCALAR_PARTS.items():
        if part in changed and part in host:
            _require(host, "a host", {part: _OBJECT})
            _allow(host[part], part, {key: _VALUE_TYPES[kind] for key, kind in kinds.items()})
    for table in TABLES:
        if table in changed and table in host:
            _require(host, "a host", {table: _OBJECT})
            _check_columns(table, host[table], changed[table])
    if not changed.keys().isdisjoint(TABLES):
        _check_rows(host)


def _check_columns(table: str, columns: dict[str, Any], changed: dict[str, Any]) -> None:
    """Equal lengths in all columns, and the right types in those that changed."""
    if not set(map(type, columns.values())) <= {list}:
        raise UpdateError(f"a column of {table} is not a list")
    lengths = set(map(len, columns.values()))
    if len(lengths) > 1:
        raise UpdateError(f"the columns of {table} differ in length")
    if any(lengths) and not columns.keys() >= REQUIRED_COLUMNS[table] - {"state"}:
        raise UpdateError(f"{table} lacks a column that all have")
    for key in changed:
        kind = TABLES[table].get(key)
        if kind is None or key not in columns:
            continue
        if not set(map(type, columns[key])) <= _VALUE_TYPES[kind] | _NULL:
            raise UpdateError(f"{table}.{key} is not {kind.value}")
        if kind is Kind.WORDS and not set(map(type, _words(columns[key]))) <= _TEXT:
            raise UpdateError(f"{table}.{key} is not {kind.value}")


def _words(column: list[Any]) -> chain[Any]:
    return chain.from_iterable(filter(None, column))


def _check_rows(host: dict[str, Any]) -> None:
    """Every `parent` and every `gpu` names a row of `gpus`."""
    rows = range(len(host.get("gpus", {}).get("index", ())))
    for table, key in _REFERENCES:
        named = set(host.get(table, {}).get(key, ())) - {None}
        if named and not (min(named) in rows and max(named) in rows):
            raise UpdateError(f"{table}.{key} names a row that gpus does not have")


def _require(members: dict[str, Any], what: str, types: dict[str, Types]) -> None:
    for key, allowed in types.items():
        if type(members.get(key)) not in allowed:
            raise UpdateError(f"{key} of {what} is missing or of another type")


def _allow(members: dict[str, Any], what: str, types: dict[str, Types]) -> None:
    _require(members, what, {key: types[key] for key in types.keys() & members.keys()})


def _only(members: dict[str, Any], what: str, allowed: Types) -> None:
    if not set(map(type, members.values())) <= allowed:
        raise UpdateError(f"a member of {what} is of another type")
