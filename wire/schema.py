"""The declared types of a collector's message: what they do not allow is a WireError."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.msgpack import Decoder

from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    GPU_ACTIVITY,
    GPU_HEALTH,
    GPU_STATES,
    PROCESS_TYPES,
    SEVERITIES,
    SYSTEM_FIELDS,
    TABLES,
    VERSION,
    Kind,
)
from gpu_monitor.wire.limits import (
    MAX_COUNT,
    MAX_KEY,
    MAX_MEMBERS,
    MAX_ROWS,
    MAX_TEXT,
    MAX_WORDS,
    WireError,
)
from gpu_monitor.wire.plain_text import plain_column, plain_text, plain_words

Packed: TypeAlias = bytes | Raw
Members: TypeAlias = dict[str, Raw]
"""The members of an object by name, each still packed."""
Decode: TypeAlias = Callable[[Packed], Any]
"""Raises whatever msgspec raises: `refusal` turns that into a WireError."""

Version = Annotated[int, Meta(ge=VERSION, le=VERSION)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Number = (
    Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)]
    | Annotated[float, Meta(ge=-float(MAX_COUNT), le=float(MAX_COUNT))]
)
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Id = Annotated[str, Meta(max_length=64)]
PlainId = Annotated[str, Meta(max_length=64, pattern=r"^[!-~]*\Z")]
"""An Id of ASCII letters, digits and signs."""
Word = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
"""One of a few stable words: a newer collector may know more of them."""
Words = Annotated[list[Text], Meta(max_length=MAX_WORDS)]

_KIND_TYPES: dict[Kind, Any] = {
    Kind.COUNT: Count,
    Kind.NUMBER: Number,
    Kind.TEXT: Text,
    Kind.WORDS: Words,
    Kind.ROW: Count,
}
_ENUMS: dict[tuple[str, str], Any] = {
    ("gpus", "state"): Literal[tuple(sorted(GPU_STATES))],
    ("gpus", "health"): Literal[tuple(sorted(GPU_HEALTH))],
    ("gpus", "activity"): Literal[tuple(sorted(GPU_ACTIVITY))],
    ("processes", "type"): Literal[tuple(sorted(PROCESS_TYPES))],
    ("findings", "kind"): Word,
    ("findings", "severity"): Literal[SEVERITIES],
}
SCALARS = {"system": SYSTEM_FIELDS, "collector": COLLECTOR_FIELDS}
PARTS: dict[str, dict[str, Kind]] = {**SCALARS, **TABLES}
EMPTY = {part: Raw(b"\x80") for part in PARTS}
"""What stands in for a member that a message may leave out."""


def value_type(part: str, key: str) -> Any:
    """The type of a member of `part`: of a scalar that is known, or of a whole column."""
    value: Any = _ENUMS.get((part, key), _KIND_TYPES[PARTS[part][key]])
    return _column(part, value | None) if part in TABLES else value


def _column(table: str, value: Any) -> Any:
    return Annotated[list[value], Meta(max_length=MAX_ROWS[table])]


def _plain_scalar(text: str | None) -> str | None:
    return None if text is None else plain_text(text)


def _value_decoder(part: str, key: str) -> Decode:
    """Decodes a member of `part`; texts that a sender chooses become plain."""
    kind, is_scalar = PARTS[part][key], part in SCALARS
    value = value_type(part, key)
    decode: Decode = Decoder(value | None if is_scalar else value).decode
    if (part, key) in _ENUMS or kind not in _PLAIN_TEXTS:
        return decode
    plain = _plain_scalar if is_scalar else _PLAIN_TEXTS[kind]
    return lambda packed: plain(decode(packed))


_PLAIN_TEXTS: dict[Kind, Callable[[Any], Any]] = {Kind.TEXT: plain_column, Kind.WORDS: plain_words}
MEMBERS: dict[str, Decode] = {
    "version": Decoder(Version).decode,
    "name": Decoder(Text).decode,
    "boot_id": Decoder(PlainId).decode,
    "run_id": Decoder(PlainId).decode,
    "sequence": Decoder(Count).decode,
    "interval_seconds": Decoder(Number).decode,
    "sampled_boottime": Decoder(Number).decode,
    "sampled_at": Decoder(Number).decode,
}
VALUES: dict[str, dict[str, Decode]] = {
    part: {key: _value_decoder(part, key) for key in kinds} for part, kinds in PARTS.items()
}
UNKNOWN_COLUMN: dict[str, Decode] = {table: Decoder(_column(table, Any)).decode for table in TABLES}
decode_anything: Decode = Decoder(Any).decode
_decode_object: Callable[[Packed], Members] = Decoder(Members).decode

_FIXED_REASONS = {
    "name": "name",
    "version": "version",
    **dict.fromkeys(("sequence", "interval_seconds", "sampled_boottime", "sampled_at"), "value"),
}
"""The reason of a refusal where it does not depend on what is wrong with the member."""


class Body(msgspec.Struct, gc=False):
    """A message with its parts still packed."""

    version: Version
    name: Text
    boot_id: Id
    run_id: Id
    sequence: Count
    interval_seconds: Number
    sampled_boottime: Number
    sampled_at: Number
    system: Raw = EMPTY["system"]
    gpus: Raw = EMPTY["gpus"]
    processes: Raw = EMPTY["processes"]
    disks: Raw = EMPTY["disks"]
    findings: Raw = EMPTY["findings"]
    collector: Raw = EMPTY["collector"]


class StrictBody(Body, forbid_unknown_fields=True, gc=False):
    """A Body without members of a newer collector."""


decode_body: Callable[[bytes], Body] = Decoder(Body).decode
decode_strict_body: Callable[[bytes], Body] = Decoder(StrictBody).decode

ABSENT_COLUMN = Raw(b"\xc1")
"""A column that is not there, as bytes that no msgpack document holds."""


def part_decoder(part: str, numbers: frozenset[str], strict: bool) -> Decode:
    """Decodes the `numbers` of a part; all other members stay packed, and come first.

    With `strict`, members of a newer collector are an error, and so are numbers that are missing;
    else the former are passed over, and the latter are UNSET or None.
    """
    absent: Any = UnsetType | None if part in SCALARS else UnsetType
    fields: list[Any] = [(key, Raw, ABSENT_COLUMN) for key in PARTS[part] if key not in numbers]
    for key in PARTS[part]:
        if key in numbers and strict:
            fields.append((key, value_type(part, key)))
        elif key in numbers:
            fields.append((key, value_type(part, key) | absent, UNSET))
    struct = msgspec.defstruct(
        f"{part}_part", fields, forbid_unknown_fields=strict, kw_only=True, gc=False
    )
    return Decoder(struct).decode


def open_object(packed: Packed, what: str) -> Members:
    """The members of an object, checked for their number and names alone; raises WireError."""
    try:
        members = _decode_object(packed)
    except Exception as error:
        raise refusal(error, what) from None
    if len(members) > MAX_MEMBERS:
        raise WireError("limit", f"{what} has over {MAX_MEMBERS} members")
    if max(map(len, members), default=0) > MAX_KEY:
        raise WireError("type", f"{what} has a name of over {MAX_KEY} characters")
    if not "".join(members).isprintable():
        raise WireError("type", f"{what} has a name that is not printable")
    return members


def missing(what: str) -> WireError:
    """The refusal of a message that lacks a member that all have."""
    return WireError(_FIXED_REASONS.get(what, "type"), f"{what} is missing")


def refusal(error: Exception, what: str) -> WireError:
    """An `error` that decoding raised at `what`, as a refusal by one of the few reasons."""
    words = str(error)
    if not isinstance(error, msgspec.ValidationError):  # DecodeError, RecursionError and others
        return WireError("msgpack", f"{what} is not msgpack: {error!r:.100}")
    if what in _FIXED_REASONS:
        reason = _FIXED_REASONS[what]
    elif "of length" in words:
        reason = "limit"
    elif ">=" in words or "<=" in words or "enum" in words or "regex" in words:
        reason = "value"
    else:
        reason = "type"
    return WireError(reason, f"{what}: {words[:200]}")
