"""A host's next message, read by what differs from its last one.

Of a snapshot's members few change from one second to the next, and nearly all that do are
numbers. Those are decoded. All others, such as names, UUIDs and users, stay packed: their bytes
are compared with the last message's, and only where they differ is the message read in full.
"""

from collections.abc import Container, Iterator
from typing import Any, NamedTuple, TypeAlias, cast

from msgspec import UNSET
from msgspec.structs import astuple

from gpu_monitor.wire.document import REQUIRED_COLUMNS, SLOW_COLUMNS, SLOW_SYSTEM, Snapshot
from gpu_monitor.wire.full_reader import Moves, read_in_full
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, WireError
from gpu_monitor.wire.schema import (
    PARTS,
    Body,
    Decode,
    Packed,
    StrictBody,
    decode_body,
    decode_strict_body,
    open_object,
    part_decoder,
    refusal,
)

NUMBER_MEMBERS: dict[str, frozenset[str]] = {
    "system": SLOW_SYSTEM | {"cpu_percent", "memory_used_mib"},
    "gpus": SLOW_COLUMNS["gpus"]
    | {
        "memory_used_mib",
        "utilization_percent",
        "temperature_celsius",
        "power_watts",
        "idle_since",
    },
    "processes": SLOW_COLUMNS["processes"] | {"idle_since"},
    "disks": SLOW_COLUMNS["disks"],
    "findings": frozenset[str](),
    "collector": frozenset(("cpu_percent", "memory_mib", "sample_seconds")),
}
"""Members that may change every second: who sits where does not depend on them."""


_ROWS = {table: min(keys) for table, keys in REQUIRED_COLUMNS.items() if NUMBER_MEMBERS[table]}
"""A column of each table with numbers that has a value in every row."""
_IDENTITY = ("name", "boot_id", "run_id")


class _Split(NamedTuple):
    """How the members of a part are taken apart."""

    part: str
    decode: Decode
    decode_loosely: Decode
    steady: int
    """How many fields come before the numbers."""
    numbers: tuple[str, ...]


def _split(part: str) -> _Split:
    numbers = tuple(key for key in PARTS[part] if key in NUMBER_MEMBERS[part])
    return _Split(
        part,
        part_decoder(part, NUMBER_MEMBERS[part], strict=True),
        part_decoder(part, NUMBER_MEMBERS[part], strict=False),
        len(PARTS[part]) - len(numbers),
        numbers,
    )


_SPLITS = tuple(_split(part) for part in PARTS if NUMBER_MEMBERS[part])


class Message(NamedTuple):
    """A message of this version; its scalars are checked, its parts are not."""

    data: bytes
    body: Body


Numbers: TypeAlias = dict[str, tuple[tuple[str, ...], tuple[Any, ...]]]
"""The names and the values of the numbers that are known, by part."""


class Changes(NamedTuple):
    """What a message changes in the snapshot of its host: checked, but not applied yet.

    `steady` is the bytes of all members but numbers. `numbers` are those of each part, None where
    other members differ too: then `moves` holds all that differs.
    """

    body: Body
    steady: bytes
    numbers: Numbers | None
    moves: Moves


class Last:
    """What the accepted messages of a host add up to."""

    __slots__ = ("snapshot", "steady")

    def __init__(self, changes: Changes) -> None:
        self.snapshot = cast(Snapshot, {})
        self.apply(changes)

    def apply(self, changes: Changes) -> None:
        """Brings the snapshot up to date in place; what is not a number and did not change stays
        the same object."""
        if changes.numbers is not None:
            self._apply_numbers(changes.body, changes.numbers)
            return
        self.steady = changes.steady
        values = cast(dict[str, Any], self.snapshot)
        for part, moves in changes.moves.items():
            target = values.setdefault(part, {}) if part else values
            target.update(moves)
            for key in [key for key, value in moves.items() if value is None]:
                del target[key]

    def _apply_numbers(self, body: Body, numbers: Numbers) -> None:
        values = cast(dict[str, Any], self.snapshot)
        for part, (names, latest) in numbers.items():
            values[part].update(zip(names, latest, strict=True))
        values["sequence"] = body.sequence
        values["interval_seconds"] = body.interval_seconds
        values["sampled_boottime"] = body.sampled_boottime
        values["sampled_at"] = body.sampled_at


def open_message(data: bytes) -> Message:
    """Raises WireError for what is not a message of this version."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("size", f"{len(data)} bytes are over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return Message(data, decode_strict_body(data))
    except Exception:  # unknown members or a fault (msgspec raises several classes): read on
        pass
    try:
        return Message(data, decode_body(data))
    except Exception as error:
        read_in_full(data, {})  # raises what is wrong first
        raise refusal(error, "the message") from None


def read_changes(message: Message, last: Last | None = None) -> Changes:
    """What differs from the `last` message of the same host, all of it without one.

    Raises WireError for whatever the types or the limits do not allow, and nothing else.
    """
    body = message.body
    before = {} if last is None else cast(dict[str, Any], last.snapshot)
    try:
        steady, numbers = _take_apart(message)
    except Exception as error:  # whatever a hostile message makes the decoders raise
        read_in_full(message.data, before)  # raises what is wrong first
        raise refusal(error, "the message") from None
    if last is not None and steady == last.steady and _only_numbers(body, numbers, before):
        return Changes(body, steady, numbers, {})
    return Changes(body, steady, None, read_in_full(message.data, before))


def _take_apart(message: Message) -> tuple[bytes, Numbers]:
    """The bytes of all members but numbers, and the numbers of each part."""
    body = message.body
    pieces: list[Packed] = [body.findings]
    if type(body) is not StrictBody:
        pieces += _unknown(message.data, Body.__struct_fields__)
    numbers: Numbers = {}
    for split in _SPLITS:
        packed = getattr(body, split.part)
        try:
            values = astuple(split.decode(packed))
            numbers[split.part] = split.numbers, values[split.steady :]
        except Exception:  # unknown members, or numbers that are null or missing: read on
            values = astuple(split.decode_loosely(packed))
            known = {
                key: value
                for key, value in zip(split.numbers, values[split.steady :], strict=True)
                if value is not UNSET and value is not None
            }
            numbers[split.part] = tuple(known), tuple(known.values())
            pieces += _unknown(packed, PARTS[split.part])
            pieces.append(" ".join(known).encode())
        pieces += values[: split.steady]
    return b"".join(pieces), numbers


def _only_numbers(body: Body, numbers: Numbers, before: dict[str, Any]) -> bool:
    """Whether these numbers are all that differs, and have a value in every row."""
    if (body.name, body.boot_id, body.run_id) != tuple(map(before.get, _IDENTITY)):
        return False
    for table, key in _ROWS.items():
        rows = len(before[table].get(key, ()))
        if not set(map(len, numbers[table][1])) <= {rows}:
            return False
    return True


def _unknown(packed: Packed, known: Container[str]) -> Iterator[Packed]:
    """The members that are not `known`, name and bytes."""
    for key, value in open_object(packed, "the message").items():
        if key not in known:
            yield f"{len(key)}:{key}".encode()
            yield value
