"""The last sixty minutes as one maximum per minute, in a ring of fixed size; pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from gpu_monitor.wire.document import Column, Table

MINUTES = 60
MINUTE_SECONDS = 60
_NO_READING = 255
"""No reading in that minute: a gap, not a zero."""
_HIGHEST = 254


class GpuHistory:
    """Utilization in percent of each GPU of one host: 60 bytes per GPU.

    Times are unix seconds by the broker's clock. GPUs are identified by UUID: one that changes its
    row keeps its past, a new one starts without any. Where several have the same UUID, the first of
    them goes on with the past of the first, and so on.
    """

    __slots__ = ("_column", "_minute", "_peaks", "_rings", "_uuids")

    def __init__(self) -> None:
        self._minute = 0
        self._uuids: Column = []
        self._column: Column = []
        self._peaks: Column = []
        """The maxima of the current minute; None without a reading."""
        self._rings = bytearray()
        """The minutes before it, each as one byte per GPU."""

    def add(self, gpus: Table, now: float) -> None:
        """Adds the readings of `now`; the same column again in the same minute costs nothing."""
        minute = int(now) // MINUTE_SECONDS
        column = gpus.get("utilization_percent", [])
        uuids = gpus.get("uuid", [])
        if minute == self._minute and uuids is self._uuids:
            if column is not self._column:
                self._raise_peaks(column)
            return
        if minute != self._minute:
            self._start_minute(minute)
        if uuids is not self._uuids:
            self._rearrange(uuids)
        self._raise_peaks(column)

    def answer(self, now: float) -> dict[str, Any]:
        """One list of 60 per GPU, oldest first; None for a minute without a reading."""
        minute = int(now) // MINUTE_SECONDS
        if minute != self._minute:
            self._start_minute(minute)
        self._store_peaks()
        rows, oldest = len(self._uuids), (minute + 1) % MINUTES
        rings = [self._rings[row::rows] for row in range(rows)]
        return {
            "until": (minute + 1) * MINUTE_SECONDS,
            "minute_seconds": MINUTE_SECONDS,
            "uuid": self._uuids,
            "utilization_percent": [
                [None if value == _NO_READING else value for value in ring[oldest:] + ring[:oldest]]
                for ring in rings
            ],
        }

    def _raise_peaks(self, column: Column) -> None:
        self._column = column
        if column:
            self._peaks = list(map(_higher, self._peaks, column))

    def _store_peaks(self) -> None:
        """Stores the current minute in the rings."""
        rows, place = len(self._uuids), self._minute % MINUTES
        self._rings[place * rows : (place + 1) * rows] = bytes(
            _NO_READING if peak is None else min(peak, _HIGHEST) for peak in self._peaks
        )

    def _start_minute(self, minute: int) -> None:
        """Minutes without a message are gaps; a clock that was set back clears the past."""
        rows, passed = len(self._uuids), minute - self._minute
        if 0 < passed < MINUTES:
            self._store_peaks()
            gap = bytes([_NO_READING]) * rows
            for silent in range(self._minute + 1, minute + 1):
                place = silent % MINUTES
                self._rings[place * rows : (place + 1) * rows] = gap
        else:
            self._rings = bytearray([_NO_READING]) * (MINUTES * rows)
        self._minute = minute
        self._peaks = [None] * rows

    def _rearrange(self, uuids: Column) -> None:
        rows = len(self._uuids)
        past = {own: row for row, own in enumerate(_numbered(self._uuids))}
        places = [
            None if uuid is None else past.get(own)
            for uuid, own in zip(uuids, _numbered(uuids), strict=True)
        ]
        self._peaks = [None if row is None else self._peaks[row] for row in places]
        rings = bytearray([_NO_READING]) * (MINUTES * len(uuids))
        for place, row in enumerate(places):
            if row is not None:
                rings[place :: len(uuids)] = self._rings[row::rows]
        self._rings, self._uuids = rings, uuids


def _numbered(uuids: Column) -> Iterator[tuple[str | None, int]]:
    """Each UUID with the number of rows before it that have the same one."""
    seen: Counter[str | None] = Counter()
    for uuid in uuids:
        yield uuid, seen[uuid]
        seen[uuid] += 1


def _higher(one: int | None, other: int | None) -> int | None:
    if one is None or (other is not None and other > one):
        return other
    return one


class TotalsHistory:
    """Maxima of the fleet's totals per minute."""

    KEYS = ("utilization_percent", "memory_used_mib", "power_watts")

    def __init__(self) -> None:
        self._minutes: dict[int, dict[str, int | float]] = {}

    def add(self, totals: dict[str, Any], now: float) -> None:
        """Adds the totals of `now` (unix seconds)."""
        minute = int(now) // MINUTE_SECONDS
        known = self._minutes.get(minute)
        if known is None:
            known = self._minutes[minute] = {}
            self._minutes = {
                kept: maxima
                for kept, maxima in self._minutes.items()
                if minute - MINUTES < kept <= minute
            }
        for key in self.KEYS:
            value = totals.get(key)
            if value is not None and value > known.get(key, -1):
                known[key] = value

    def answer(self, now: float) -> dict[str, Any]:
        """One list of 60 per total, oldest first; None for a minute without a value."""
        minute = int(now) // MINUTE_SECONDS
        minutes = [self._minutes.get(past, {}) for past in range(minute - MINUTES + 1, minute + 1)]
        answer: dict[str, Any] = {
            "until": (minute + 1) * MINUTE_SECONDS,
            "minute_seconds": MINUTE_SECONDS,
        }
        return answer | {key: [known.get(key) for known in minutes] for key in self.KEYS}
