"""A host's next message read by what differs: the bytes that repeat are compared, not parsed.

Of a snapshot's columns few move from one second to the next; names, UUIDs, users and the like
repeat byte for byte. Unpacking and checking them again is most of what a message costs; then
comes reading what is published once in five seconds only, which waits until then.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, cast

from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    SLOW_COLUMNS,
    SLOW_SYSTEM,
    SYSTEM_FIELDS,
    TABLES,
    Kind,
    Snapshot,
)

_QUICK = {
    "": frozenset(("sequence", "interval_seconds", "sampled_boottime", "sampled_at")),
    "system": frozenset(("cpu_percent", "memory_used_mib")),
    "gpus": frozenset(
        (
            "memory_used_mib",
            "utilization_percent",
            "temperature_celsius",
            "power_watts",
            "idle_since",
        )
    ),
    "processes": frozenset(("idle_since",)),
}
"""Members that are read anew in each message where they differ, all of them numbers."""
_SLOW = {
    "system": SLOW_SYSTEM,
    "collector": frozenset(("cpu_percent", "memory_mib", "sample_seconds")),
    **SLOW_COLUMNS,
}
"""Numbers too, but published seldom: they are checked, and read only when somebody asks."""
_KINDS: dict[str, dict[str, Kind]] = {
    "": dict.fromkeys(_QUICK[""], Kind.NUMBER) | {"sequence": Kind.COUNT},
    "system": SYSTEM_FIELDS,
    "collector": COLLECTOR_FIELDS,
    **TABLES,
}
_PARTS = frozenset((*_QUICK, *_SLOW)) - {""}
_COUNT = rb"[\x00-\x7f]|\xcd..|\xcc.|\xce....|\xcf\x00[\x00-\x1f]......"
"""msgpack's whole numbers from 0 to 2^53, smallest first."""
_FLOAT = rb"\xcb(?:[\x00-\x42\x80-\xc2].|[\x43\xc3][\x00-\x3f])......"
"""msgpack's 64-bit floats within 2^53 of 0, told by their exponent; no NaN, no infinity."""
_MAX_SHAPES = 1024


class _Gap(NamedTuple):
    """A run of moving members of one object: which they are, how a map of them begins, and
    matches their bytes when every value is a number that `check_snapshot` would take.

    What matches unpacks to just these keys, with just so many rows.
    """

    part: str
    keys: tuple[str, ...]
    is_slow: bool
    opening: bytes
    match: Callable[[bytes, int], re.Match[bytes] | None]


_Moved: TypeAlias = tuple[int, _Gap, bytes]
"""A gap whose bytes differ from the last message's: its number and its bytes."""


class Reading(NamedTuple):
    """A message of which only what moved was read; nothing of it has been taken in yet."""

    sequence: int
    sampled_boottime: float
    quick: list[_Moved]
    parts: list[dict[str, Any]]
    slow: list[_Moved]


Moves: TypeAlias = dict[str, dict[str, Any]]
"""What differs now in the parts of a snapshot, as a merge patch tells it."""


class Template:
    """Reads the messages of one run of a collector that repeat the last one taken in.

    They are a run of fixed bytes, then for each gap its moving members and a run of fixed bytes.
    """

    __slots__ = ("_first", "_gaps", "_last", "_runs", "_unread")

    def __init__(self, first: bytes, gaps: tuple[_Gap, ...], runs: tuple[bytes, ...]) -> None:
        self._first = first
        self._gaps = gaps
        self._runs = runs
        self._last = [b""] * len(gaps)
        self._unread: tuple[int, ...] = ()

    def read(self, data: bytes) -> Reading | None:
        """What moved, checked as `check_snapshot` would; None where it has to be asked."""
        quick: list[_Moved] = []
        slow: list[_Moved] = []
        if not self._split(data, quick, slow):
            return None
        parts = _unpack(quick)
        top: dict[str, Any] = {}
        for (_, gap, _), part in zip(quick, parts, strict=True):
            if not gap.part:
                top.update(part)
        if "sequence" not in top or "sampled_boottime" not in top:
            return None  # the same message again
        return Reading(top["sequence"], top["sampled_boottime"], quick, parts, slow)

    def take(self, reading: Reading, snapshot: Snapshot) -> Moves:
        """Brings `snapshot`, made of the last message, to this one, column by column in place.

        Only slow members stay behind until `catch_up`. Columns that are equal stay the same
        objects.
        """
        for number, _, piece in reading.quick:
            self._last[number] = piece
        for number, _, piece in reading.slow:
            self._last[number] = piece
            if number not in self._unread:
                self._unread += (number,)
        return _put(reading.quick, reading.parts, snapshot)

    def catch_up(self, snapshot: Snapshot) -> Moves:
        """Brings the slow members of `snapshot` to the last message taken in."""
        if not self._unread:
            return {}
        slow = [(number, self._gaps[number], self._last[number]) for number in self._unread]
        self._unread = ()
        return _put(slow, _unpack(slow), snapshot)

    def _split(self, data: bytes, quick: list[_Moved], slow: list[_Moved]) -> bool:
        """Adds the gaps whose bytes are not those of the last message; False if others differ."""
        if not data.startswith(self._first):
            return False
        at = len(self._first)
        for number, last in enumerate(self._last):
            run = self._runs[number]
            end = at + len(last)
            if not last or not data.startswith(last, at) or not data.startswith(run, end):
                gap = self._gaps[number]
                match = gap.match(data, at)
                if match is None or not data.startswith(run, end := match.end()):
                    return False
                (slow if gap.is_slow else quick).append((number, gap, data[at:end]))
            at = end + len(run)
        return at == len(data)


def _unpack(moved: list[_Moved]) -> list[dict[str, Any]]:
    pieces = [_opening(0x90, 0xDC, len(moved))]
    for _, gap, piece in moved:
        pieces += (gap.opening, piece)
    return cast(list[dict[str, Any]], unpack(b"".join(pieces)))


def _put(moved: list[_Moved], parts: list[dict[str, Any]], snapshot: Snapshot) -> Moves:
    into = cast(dict[str, Any], snapshot)
    moves: Moves = {}
    for (_, gap, _), latest in zip(moved, parts, strict=True):
        part = gap.part
        if not part:
            into.update(latest)
            continue
        before = into[part]
        for key in [key for key, value in latest.items() if before[key] == value]:
            del latest[key]
        if latest:
            before.update(latest)
            moves[part] = moves[part] | latest if part in moves else latest
    return moves


def make_template(data: bytes, message: dict[str, Any]) -> Template | None:
    """A template of `data`, which was unpacked to `message` and is right in all.

    None where another way of packing than ours made it, or where nothing can be gained.
    """
    runs = [_opening(0x80, 0xDE, len(message))]
    gaps: list[tuple[str, list[str], bool, int]] = []
    pieces = runs.copy()

    def add(part: str, key: str, value: object) -> None:
        piece = _pack_key(key) + pack(value)
        pieces.append(piece)
        is_slow = key in _SLOW.get(part, ())
        if value is None or not (is_slow or key in _QUICK.get(part, ())):
            runs[-1] += piece
        elif gaps and not runs[-1] and gaps[-1][0] == part and gaps[-1][2] == is_slow:
            gaps[-1][1].append(key)
        else:
            gaps.append((part, [key], is_slow, len(value) if type(value) is list else 0))
            runs.append(b"")

    for name, value in message.items():
        if name in _PARTS and type(value) is dict:
            opening = pack(name) + _opening(0x80, 0xDE, len(value))
            pieces.append(opening)
            runs[-1] += opening
            for key, member in value.items():
                add(name, key, member)
        else:
            add("", name, value)
    shapes = [_gap(part, tuple(keys), is_slow, rows) for part, keys, is_slow, rows in gaps]
    if not shapes or None in shapes or b"".join(pieces) != data:
        return None
    return Template(runs[0], _shared(tuple(filter(None, shapes))), tuple(runs[1:]))


@lru_cache(256)
def _pack_key(key: str) -> bytes:
    return pack(key)


_gaps: dict[tuple[str, tuple[str, ...], int], _Gap] = {}


def _gap(part: str, keys: tuple[str, ...], is_slow: bool, rows: int) -> _Gap | None:
    """The same for all hosts, and shared; None when there are too many to be honest ones."""
    gap = _gaps.get((part, keys, rows))
    if gap is None and len(_gaps) < _MAX_SHAPES:
        pattern = re.compile(b"".join(_member(part, key, rows) for key in keys), re.DOTALL)
        opening = _opening(0x80, 0xDE, len(keys))
        gap = _gaps[part, keys, rows] = _Gap(part, keys, is_slow, opening, pattern.match)
    return gap


@lru_cache(_MAX_SHAPES)
def _shared(gaps: tuple[_Gap, ...]) -> tuple[_Gap, ...]:
    """One tuple for all hosts that have the same."""
    return gaps


def _member(part: str, key: str, rows: int) -> bytes:
    """A pattern of the key with its value, or with its column: so many values or nils."""
    value = _COUNT if _KINDS[part][key] is Kind.COUNT else _COUNT + b"|" + _FLOAT
    if part in TABLES:
        column = re.escape(_opening(0x90, 0xDC, rows))
        return re.escape(pack(key)) + column + rb"(?:\xc0|%b){%d}" % (value, rows)
    return re.escape(pack(key)) + b"(?:" + value + b")"


def _opening(small: int, large: int, count: int) -> bytes:
    """msgpack's opening of a map (0x80, 0xde) or an array (0x90, 0xdc) of `count` members."""
    if count < 16:
        return bytes((small | count,))
    return bytes((large, count >> 8, count & 255))
