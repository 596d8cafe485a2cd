"""A collector's message becomes a snapshot, or a WireError that names what is wrong with it.

The declared types are the check. Beside every value stay the bytes it was decoded from: what the
next message of a host repeats byte for byte is neither decoded nor checked again.
"""

from collections.abc import Callable
from itertools import compress
from operator import ne
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import Meta, Raw
from msgspec.msgpack import Decoder

from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    GPU_STATES,
    PROCESS_TYPES,
    REQUIRED_COLUMNS,
    SYSTEM_FIELDS,
    TABLES,
    VERSION,
    Column,
    Kind,
    Snapshot,
)
from gpu_monitor.wire.limits import (
    MAX_COUNT,
    MAX_KEY,
    MAX_MEMBERS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    MAX_TEXT,
    MAX_WORDS,
    WireError,
    is_host_name,
)
from gpu_monitor.wire.shared_columns import SharedColumns
from gpu_monitor.wire.unknown_members import Allowance, check_unknown

Members: TypeAlias = dict[str, Raw]
"""The members of an object by name, still packed."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Number = (
    Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)]
    | Annotated[float, Meta(ge=-float(MAX_COUNT), le=float(MAX_COUNT))]
)
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Id = Annotated[str, Meta(max_length=64)]
Words = Annotated[list[Text], Meta(max_length=MAX_WORDS)]
Object = Annotated[
    dict[Annotated[str, Meta(max_length=MAX_KEY)], Raw], Meta(max_length=MAX_MEMBERS)
]

_TYPES: dict[Kind, Any] = {
    Kind.COUNT: Count,
    Kind.NUMBER: Number,
    Kind.TEXT: Text,
    Kind.WORDS: Words,
    Kind.ROW: Count,
}
_WORDS_OF: dict[tuple[str, str], Any] = {
    ("gpus", "state"): Literal[tuple(sorted(GPU_STATES))],
    ("processes", "type"): Literal[tuple(sorted(PROCESS_TYPES))],
}
_OBJECT = Decoder(Object)
_ANYTHING = Decoder(Any)
_TEXT = Decoder(Text)

Decode: TypeAlias = Callable[[bytes | Raw], Any]
_MEMBERS: dict[str, Decode] = {
    "version": Decoder(Literal[VERSION]).decode,
    "name": _TEXT.decode,
    "boot_id": Decoder(Id).decode,
    "run_id": Decoder(Id).decode,
    "sequence": Decoder(Count).decode,
    "interval_seconds": Decoder(Number).decode,
    "sampled_boottime": Decoder(Number).decode,
    "sampled_at": Decoder(Number).decode,
    "problems": Decoder(Words).decode,
}
_SCALARS: dict[str, dict[str, Decode]] = {
    part: {key: Decoder(_TYPES[kind] | None).decode for key, kind in fields.items()}
    for part, fields in (("system", SYSTEM_FIELDS), ("collector", COLLECTOR_FIELDS))
}
_PARTS = (*_SCALARS, *TABLES)
_REQUIRED = Snapshot.__annotations__.keys() - {"problems", *_PARTS}
_REASONS = {
    "name": "name",
    **dict.fromkeys(("sequence", "interval_seconds", "sampled_boottime", "sampled_at"), "value"),
}
"""The reason of a refusal where it does not depend on what is wrong with the member."""
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
            "health_reasons",
        )
    ),
    "processes": frozenset(
        ("gpu", "user", "uid", "effective_user", "command", "container", "job", "state", "type")
    ),
    "disks": frozenset(("mount",)),
}
"""Columns that are the same on many hosts, or whose texts are: stored once."""
_shared = SharedColumns()


def _column(table: str, value: Any) -> Decode:
    decoder: Decoder[Column] = Decoder(Annotated[list[value], Meta(max_length=MAX_ROWS[table])])
    return decoder.decode


_COLUMNS: dict[str, dict[str, Decode]] = {
    table: {
        key: _column(table, _WORDS_OF.get((table, key), _TYPES[kind]) | None)
        for key, kind in columns.items()
    }
    for table, columns in TABLES.items()
}
_UNKNOWN_COLUMN = {table: _column(table, Any) for table in TABLES}
_PLAIN_COLUMNS = {
    table: {
        key: decode
        for key, decode in columns.items()
        if key not in _REPEATING[table] and key not in REQUIRED_COLUMNS[table]
    }
    for table, columns in _COLUMNS.items()
}


class _Part(NamedTuple):
    """An object as it came, and as it was read: equal bytes are not read again."""

    packed: Members
    values: dict[str, Any]


class Reading(NamedTuple):
    """A snapshot, beside the bytes that it was read from."""

    packed: Members
    values: dict[str, Any]
    parts: dict[str, _Part]

    @property
    def snapshot(self) -> Snapshot:
        return cast(Snapshot, self.values)


_NO_PART = _Part({}, {})
_NO_READING = Reading({}, {}, {})


class Message(NamedTuple):
    """A message of this version of the protocol, of which nothing but the name was read."""

    name: str
    members: Members


def open_message(data: bytes) -> Message:
    """Raises WireError for bytes that are no message of this version."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("size", f"{len(data)} bytes are over the limit of {MAX_MESSAGE_BYTES}")
    members = _open(data, "the message")
    _check_version(members)
    if "name" not in members:
        raise WireError("name", "the name is missing")
    try:
        return Message(_TEXT.decode(members["name"]), members)
    except Exception as error:
        raise _refusal(error, "name") from None


def read_snapshot(message: Message, previous: Reading | None = None) -> Reading:
    """The snapshot in `message`, or WireError; never raises anything else.

    `previous` is what an earlier message of the same host was read as. What is equal to it is
    taken over: the same objects, so that unchanged parts are known by identity. Members that a
    newer collector adds pass through; its null scalars are left out.
    """
    old, members, allowance = previous or _NO_READING, message.members, Allowance()
    parts = dict(old.parts)

    def read_other(key: str) -> object:
        if key not in _PARTS:
            return check_unknown(_ANYTHING.decode(members[key]), key, allowance)
        before = old.parts.get(key, _NO_PART)
        part = parts[key] = _read_part(key, members[key], before, allowance)
        return part.values

    values = _read(members, old, _MEMBERS, read_other, "")
    if len(members) != len(old.packed) or not values.keys() >= _SNAPSHOT_MEMBERS:
        _complete(values, members, parts)
    if not is_host_name(values["name"]):
        raise WireError("name", "name is not 1 to 253 of A-Z a-z 0-9 . _ : -")
    _check_rows(values, old.values)
    return Reading(members, values, parts)


_SNAPSHOT_MEMBERS = Snapshot.__annotations__.keys()


def _complete(values: dict[str, Any], members: Members, parts: dict[str, _Part]) -> None:
    """Members that may be missing are empty."""
    for key in _REQUIRED - members.keys():
        raise WireError(_REASONS.get(key, "type"), f"{key} is missing")
    values.setdefault("problems", [])
    for key in _PARTS:
        if key not in members:
            parts.pop(key, None)
            values[key] = {}


def _check_version(members: Members) -> None:
    try:
        version = None if "version" not in members else _ANYTHING.decode(members["version"])
    except Exception as error:
        raise _refusal(error, "version") from None
    if type(version) is not int or version != VERSION:
        shown = repr(version)[:20]
        raise WireError("version", f"version {shown} is not {VERSION}: other major version")


def _open(packed: bytes | Raw, what: str) -> Members:
    try:
        return _OBJECT.decode(packed)
    except Exception as error:
        raise _refusal(error, what) from None


def _read(
    packed: Members,
    old: _Part | Reading,
    decoders: dict[str, Decode],
    read_other: Callable[[str], object],
    where: str,
) -> dict[str, Any]:
    """The values of `packed`, those of `old` where the bytes are the same.

    What has no decoder goes to `read_other`. A member that is null is left out. The same object
    as `old.values` if nothing differs.
    """
    changed = list(compress(packed, map(ne, packed.values(), map(old.packed.get, packed))))
    gone: set[str] = set()
    if len(packed) != len(old.packed) or not all(map(old.packed.__contains__, changed)):
        gone = old.packed.keys() - packed.keys()
    if not changed and not gone:
        return old.values
    values = old.values.copy()
    for key in gone:
        values.pop(key, None)
    key = ""
    try:
        for key in changed:
            decode = decoders.get(key)
            value = read_other(key) if decode is None else decode(packed[key])
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
    except WireError:
        raise
    except Exception as error:
        raise _refusal(error, f"{where}{key}") from None
    return values


def _read_part(what: str, packed: Raw, old: _Part, allowance: Allowance) -> _Part:
    members = _open(packed, what)
    if what in _SCALARS:

        def read_unknown(key: str) -> object:
            return check_unknown(_ANYTHING.decode(members[key]), f"{what}.{key}", allowance)

        return _Part(members, _read(members, old, _SCALARS[what], read_unknown, f"{what}."))

    def read_column(key: str) -> object:
        return _read_column(what, key, members[key], allowance)

    table = _read(members, old, _PLAIN_COLUMNS[what], read_column, f"{what}.")
    if table is not old.values:
        _check_table(what, table)
    return _Part(members, table)


def _read_column(table: str, key: str, packed: Raw, allowance: Allowance) -> Column:
    what, decode = f"{table}.{key}", _COLUMNS[table].get(key)
    column: Column
    if decode is None:
        column = _UNKNOWN_COLUMN[table](packed)
        allowance.spend(len(column), what)
        for value in column:
            check_unknown(value, what, allowance)
        return column
    if key in _REPEATING[table]:
        column = _shared.column(what, bytes(packed), decode)
    else:
        column = decode(packed)
    if key in REQUIRED_COLUMNS[table] and None in column:
        raise WireError("missing", f"{what} must have a value in every row")
    return column


def _check_table(what: str, table: dict[str, Column]) -> None:
    lengths = set(map(len, table.values()))
    if len(lengths) > 1:
        raise WireError("length", f"the columns of {what} differ in length")
    if any(lengths) and not table.keys() >= set(REQUIRED_COLUMNS[what]):
        raise WireError("missing", f"{what} must have {' and '.join(REQUIRED_COLUMNS[what])}")


def _check_rows(values: dict[str, Any], old: dict[str, Any]) -> None:
    """Every `parent` and every process's `gpu` names a row of `gpus`."""
    gpus, processes = values["gpus"], values["processes"]
    old_gpus, old_processes = old.get("gpus", {}), old.get("processes", {})
    rows = len(gpus.get("index", ()))
    if (
        rows == len(old_gpus.get("index", ()))
        and gpus.get("parent") is old_gpus.get("parent")
        and processes.get("gpu") is old_processes.get("gpu")
    ):
        return
    for column, what in (
        (gpus.get("parent", ()), "gpus.parent"),
        (processes.get("gpu", ()), "processes.gpu"),
    ):
        if max((row for row in column if row is not None), default=-1) >= rows:
            raise WireError("value", f"{what} names a row that gpus does not have")


def _refusal(error: Exception, what: str) -> WireError:
    """`error` of msgspec, raised at `what`, as a refusal with one of the usual reasons."""
    words = str(error)
    if not isinstance(error, msgspec.ValidationError):  # DecodeError, RecursionError and others
        return WireError("msgpack", f"{what} is not msgpack: {error!r:.100}")
    if what in _REASONS:
        reason = _REASONS[what]
    elif "of length" in words and "`key`" not in words:
        reason = "limit"
    elif ">=" in words or "<=" in words or "enum" in words:
        reason = "value"
    else:
        reason = "type"
    return WireError(reason, f"{what}: {words[:200]}")
