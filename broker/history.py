"""The last sixty minutes as one maximum a minute, in a ring that never grows; pure."""

from typing import Any

from wire.document import Column, Table

MINUTES = 60
MINUTE_SECONDS = 60
_ABSENT = 255
"""No reading in that minute: a gap, which is not a zero."""
_HIGHEST = 254


class GpuHistory:
    """Utilization in percent of each GPU of one host: 60 bytes a GPU.

    Times are unix seconds by the broker's clock. A GPU is known by its UUID: one that changes
    its row keeps its past, a new one begins without any.
    """

    __slots__ = ("_column", "_minute", "_rings", "_uuids")

    def __init__(self) -> None:
        self._minute = 0
        self._uuids: Column = []
        self._rings: list[bytearray] = []
        self._column: Column = []

    def add(self, gpus: Table, now: float) -> None:
        """Takes in what was heard at `now`; the same column in the same minute costs nothing."""
        minute = int(now) // MINUTE_SECONDS
        column = gpus.get("utilization_percent", [])
        uuids = gpus.get("uuid", [])
        if column is self._column and minute == self._minute and uuids is self._uuids:
            return
        if uuids is not self._uuids:
            self._arrange(uuids)
        if minute != self._minute:
            self._turn(minute)
        self._column = column
        place = minute % MINUTES
        for ring, value in zip(self._rings, column, strict=False):
            if value is not None and (ring[place] == _ABSENT or value > ring[place]):
                ring[place] = min(value, _HIGHEST)

    def answer(self, now: float) -> dict[str, Any]:
        """One list of 60 per GPU, oldest first, None where a minute holds no reading."""
        minute = int(now) // MINUTE_SECONDS
        if self._rings and minute != self._minute:
            self._turn(minute)
        rings = [
            ring[(minute + 1) % MINUTES :] + ring[: (minute + 1) % MINUTES] for ring in self._rings
        ]
        return {
            "until": (minute + 1) * MINUTE_SECONDS,
            "minute_seconds": MINUTE_SECONDS,
            "uuid": self._uuids,
            "utilization_percent": [
                [None if value == _ABSENT else value for value in ring] for ring in rings
            ],
        }

    def _arrange(self, uuids: Column) -> None:
        known = dict(zip(self._uuids, self._rings, strict=True))
        known.pop(None, None)
        self._rings = [
            ring if (ring := known.pop(uuid, None)) is not None else _empty() for uuid in uuids
        ]
        self._uuids = uuids

    def _turn(self, minute: int) -> None:
        """Minutes that passed unheard are gaps; a clock that went back begins anew."""
        passed = minute - self._minute
        if not 0 < passed < MINUTES:
            self._rings = [_empty() for _ in self._rings]
        else:
            for ring in self._rings:
                for unheard in range(self._minute + 1, minute + 1):
                    ring[unheard % MINUTES] = _ABSENT
        self._minute = minute


class TotalsHistory:
    """Maxima of the fleet's totals, minute by minute."""

    KEYS = ("utilization_percent", "memory_used_mib", "power_watts")

    def __init__(self) -> None:
        self._minutes: dict[int, dict[str, int | float]] = {}

    def add(self, totals: dict[str, Any], now: float) -> None:
        """Takes in the totals as they were at `now` (unix seconds)."""
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
        """One list of 60 per total, oldest first, None where a minute holds no value."""
        minute = int(now) // MINUTE_SECONDS
        minutes = [self._minutes.get(past, {}) for past in range(minute - MINUTES + 1, minute + 1)]
        answer: dict[str, Any] = {
            "until": (minute + 1) * MINUTE_SECONDS,
            "minute_seconds": MINUTE_SECONDS,
        }
        return answer | {key: [known.get(key) for known in minutes] for key in self.KEYS}


def _empty() -> bytearray:
    return bytearray([_ABSENT]) * MINUTES
