"""A host's next message read by what differs: the bytes that repeat are compared, not parsed.

Of a snapshot's columns few move from one second to the next; names, UUIDs, users and the like
repeat byte for byte. Unpacking and checking them again is most of what a message costs.
"""

import re
from functools import lru_cache
from itertools import compress, repeat
from operator import ne
from typing import Any, NamedTuple, cast

from wire.check import WireError
from wire.codec import pack, unpack
from wire.document import COLLECTOR_FIELDS, SYSTEM_FIELDS, TABLES, Kind, Snapshot

_MOVING = {
    "": frozenset(("sequence", "interval_seconds", "sampled_boottime", "sampled_at")),
    "system": frozenset(
        (
            "cpu_percent",
            "cpu_count",
            "load_1m",
            "memory_total_mib",
            "memory_used_mib",
            "swap_total_mib",
            "swap_used_mib",
            "network_receive_kib_per_second",
            "network_send_kib_per_second",
        )
    ),
    "gpus": frozenset(
        (
            "memory_used_mib",
            "utilization_percent",
            "memory_utilization_percent",
            "temperature_celsius",
            "slowdown_celsius",
            "power_watts",
            "power_limit_watts",
            "fan_percent",
            "sm_clock_mhz",
            "memory_clock_mhz",
            "idle_since",
        )
    ),
    "processes": frozenset(("idle_since", "gpu_memory_mib", "sm_percent")),
    "disks": frozenset(("total_mib", "used_mib")),
    "collector": frozenset(("cpu_percent", "memory_mib", "sample_seconds")),
}
"""Members that are read anew in each message, all of them numbers, and those few that stand
between them: a run of neighbours is read at once. Any other change has the message read in full."""
_KINDS: dict[str, dict[str, Kind]] = {
    "": dict.fromkeys(_MOVING[""], Kind.NUMBER) | {"sequence": Kind.COUNT},
    "system": SYSTEM_FIELDS,
    "collector": COLLECTOR_FIELDS,
    **TABLES,
}
_COUNT = rb"[\x00-\x7f]|\xcd..|\xcc.|\xce....|\xcf\x00[\x00-\x1f]......"
"""msgpack's whole numbers from 0 to 2^53, smallest first."""
_FLOAT = rb"\xcb(?:[\x00-\x42\x80-\xc2].|[\x43\xc3][\x00-\x3f])......"
"""msgpack's 64-bit floats within 2^53 of 0, told by their exponent; no NaN, no infinity."""
_ARRAY = rb"(?:[\x90-\x9f]|\xdc..)"
_MAX_SHAPES = 64


class _Gap(NamedTuple):
    """A run of moving members of one object: which they are, how a map of them begins, and
    what its bytes look like when every value is a number that `check_snapshot` would take."""

    part: str
    rows: bool
    keys: list[str]
    opening: bytes
    pattern: re.Pattern[bytes]


class _Moved(NamedTuple):
    """A gap whose members differ from the last message's: its number and its bytes."""

    number: int
    gap: _Gap
    piece: bytes


class Template:
    """Reads the messages of one run of a collector that repeat the last one read.

    They are a run of fixed bytes, then for each gap its moving members and a run of fixed bytes.
    `snapshot` is what was read last; the next one shares with it what is equal.
    """

    __slots__ = ("_first", "_gaps", "_last", "_runs", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot,
        first: bytes,
        gaps: tuple[_Gap, ...],
        runs: tuple[bytes, ...],
    ) -> None:
        self.snapshot = snapshot
        self._first = first
        self._gaps = gaps
        self._runs = runs
        self._last = [b""] * len(gaps)

    def read(self, data: bytes) -> Snapshot | None:
        """What `check_snapshot` would make of `data`, or None where it has to be asked."""
        moved = self._split(data)
        if moved is None:
            return None
        result: dict[str, Any] = cast(dict[str, Any], self.snapshot).copy()
        if moved:
            parts = _unpack(moved)
            if parts is None or not all(map(_put, moved, parts, repeat(result))):
                return None
            for number, _, piece in moved:
                self._last[number] = piece
        self.snapshot = cast(Snapshot, result)
        return self.snapshot

    def _split(self, data: bytes) -> list[_Moved] | None:
        """The gaps whose bytes are not those of the last message; None if any others differ."""
        if not data.startswith(self._first):
            return None
        at = len(self._first)
        moved = []
        for number, (gap, run, last) in enumerate(
            zip(self._gaps, self._runs, self._last, strict=True)
        ):
            end = at + len(last)
            if not last or not data.startswith(last, at) or not data.startswith(run, end):
                match = gap.pattern.match(data, at)
                if match is None or not data.startswith(run, end := match.end()):
                    return None
                moved.append(_Moved(number, gap, data[at:end]))
            at = end + len(run)
        return moved if at == len(data) else None


def _unpack(moved: list[_Moved]) -> list[dict[str, Any]] | None:
    pieces = [_opening(0x90, 0xDC, len(moved))]
    for _, gap, piece in moved:
        pieces += (gap.opening, piece)
    try:
        return cast(list[dict[str, Any]], unpack(b"".join(pieces)))
    except WireError:
        return None


def _put(moved: _Moved, part: object, result: dict[str, Any]) -> bool:
    """Puts the members of one gap into `result`; False when they are not the gap's."""
    gap = moved.gap
    if type(part) is not dict or list(part) != gap.keys:
        return False
    if not gap.part:
        result.update(part)
        return True
    old = result[gap.part]
    if not gap.rows:
        result[gap.part] = old | part
        return True
    changed = list(compress(gap.keys, map(ne, part.values(), map(old.get, gap.keys))))
    if changed:
        new = result[gap.part] = old.copy()
        for key in changed:
            column = new[key] = part[key]
            if len(column) != len(old[key]):
                return False
    return True


def make_template(data: bytes, message: dict[str, Any], snapshot: Snapshot) -> Template | None:
    """A template of `data`, which was unpacked to `message` and checked to be `snapshot`.

    None where another way of packing than ours made it, or where nothing can be gained.
    """
    runs = [_opening(0x80, 0xDE, len(message))]
    gaps: list[tuple[str, list[str]]] = []
    pieces = runs.copy()

    def add(part: str, key: str, value: object) -> None:
        piece = _pack_key(key) + pack(value)
        pieces.append(piece)
        if key not in _MOVING.get(part, ()) or value is None:
            runs[-1] += piece
        elif gaps and not runs[-1] and gaps[-1][0] == part:
            gaps[-1][1].append(key)
        else:
            gaps.append((part, [key]))
            runs.append(b"")

    for name, value in message.items():
        if name and name in _MOVING and type(value) is dict:
            opening = pack(name) + _opening(0x80, 0xDE, len(value))
            pieces.append(opening)
            runs[-1] += opening
            for key, member in value.items():
                add(name, key, member)
        else:
            add("", name, value)
    shapes = [_gap(part, tuple(keys)) for part, keys in gaps]
    if not shapes or None in shapes or b"".join(pieces) != data:
        return None
    return Template(snapshot, runs[0], tuple(filter(None, shapes)), tuple(runs[1:]))


@lru_cache(256)
def _pack_key(key: str) -> bytes:
    return pack(key)


_gaps: dict[tuple[str, tuple[str, ...]], _Gap] = {}


def _gap(part: str, keys: tuple[str, ...]) -> _Gap | None:
    """The same for all hosts, and shared; None when there are too many to be honest ones."""
    gap = _gaps.get((part, keys))
    if gap is None and len(_gaps) < _MAX_SHAPES:
        pattern = b"".join(_member(part, key) for key in keys)
        opening = _opening(0x80, 0xDE, len(keys))
        gap = _Gap(part, part in TABLES, list(keys), opening, re.compile(pattern, re.DOTALL))
        _gaps[part, keys] = gap
    return gap


def _member(part: str, key: str) -> bytes:
    """A pattern of the key with its value, or with its column: values and nil, any number."""
    value = _COUNT if _KINDS[part][key] is Kind.COUNT else _COUNT + b"|" + _FLOAT
    if part in TABLES:
        return re.escape(pack(key)) + _ARRAY + rb"(?:\xc0|" + value + b")*"
    return re.escape(pack(key)) + b"(?:" + value + b")"


def _opening(small: int, large: int, count: int) -> bytes:
    """msgpack's opening of a map (0x80, 0xde) or an array (0x90, 0xdc) of `count` members."""
    if count < 16:
        return bytes((small | count,))
    return bytes((large, count >> 8, count & 255))
