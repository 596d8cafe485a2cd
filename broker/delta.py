"""Which changes of a host travel now and which wait; pure."""

from itertools import compress
from operator import is_not, ne
from typing import Any

from gpu_monitor.wire.changes import NUMBERS
from gpu_monitor.wire.document import (
    BOOKKEEPING,
    BOOKKEEPING_SECONDS,
    IDENTITY_COLUMNS,
    SLOW_COLUMNS,
    SLOW_SECONDS,
    SLOW_SYSTEM,
    TABLES,
    Column,
    Host,
    Scalars,
    Snapshot,
    Table,
)
from gpu_monitor.wire.patch import compare, same

_OWN = Host.__annotations__.keys() | Snapshot.__annotations__.keys()
"""Members that a collector cannot add to its host: the broker's own, and the message's."""
_SNAPSHOT_MEMBERS = len(Snapshot.__annotations__)
_HOST_MEMBERS = len(Host.__annotations__)

_SLOW: dict[str, frozenset[str]] = {"system": SLOW_SYSTEM, **SLOW_COLUMNS}
_ALL_NUMBERS = {part: tuple(NUMBERS[part]) for part in _SLOW}
_QUICK_NUMBERS = {
    part: quick for part, slow in _SLOW.items() if (quick := tuple(NUMBERS[part] - slow))
}


class Turns:
    """When the slow values and the bookkeeping of one host have their turn.

    `phase` (0 to 1) spreads the hosts over the period, so that not all of them travel at once.
    """

    __slots__ = ("_book_turn", "_phase", "_slow_turn")

    def __init__(self, phase: float) -> None:
        self._phase = phase
        self._slow_turn = self._book_turn = -1

    def due(self, now: float) -> tuple[bool, bool]:
        """Whether slow values and bookkeeping may travel at `now` (any steady clock, seconds);
        each is due once per period."""
        slow_turn = int(now / SLOW_SECONDS + self._phase)
        if slow_turn == self._slow_turn:
            return False, False
        self._slow_turn = slow_turn
        book_turn = int(now / BOOKKEEPING_SECONDS + self._phase)
        book, self._book_turn = book_turn != self._book_turn, book_turn
        return True, book


def advance(
    shown: dict[str, Any],
    snapshot: Snapshot,
    use: Column,
    own: dict[str, Any],
    slow: bool,
) -> dict[str, Any]:
    """Brings `shown`, the host as published, to `snapshot`; the patch that does the same.

    `own` holds the members that are the broker's and travel now: state, problems, bookkeeping.
    With `slow` everything that differs travels; without it slow values wait for their turn,
    and `shown` keeps what was published. Columns are shared between the two and never changed
    in place.
    """
    patch: dict[str, Any] = {}
    if "system" not in shown:  # its first time: also what is empty has to be there
        for key in ("system", "collector", *TABLES):
            shown[key], patch[key] = {}, {}
    _tell_own(shown, own, patch)
    if changed := _scalars(shown["system"], snapshot["system"], slow):
        patch["system"] = changed
    for key in TABLES:
        if changed := _table(shown[key], snapshot[key], key, slow):  # type: ignore[literal-required] # the keys of TABLES are members of Snapshot
            patch[key] = changed
    if snapshot["gpus"] and shown["gpus"].get("use") != use:
        shown["gpus"]["use"] = patch.setdefault("gpus", {})["use"] = use
    if len(snapshot) != _SNAPSHOT_MEMBERS or len(shown) != _HOST_MEMBERS:
        _unknown(shown, snapshot, patch)
    return patch


def follow(shown: dict[str, Any], snapshot: Snapshot, slow: bool) -> dict[str, Any]:
    """As `advance` where nothing but numbers have changed, the usual case."""
    patch: dict[str, Any] = {}
    for part, names in (_ALL_NUMBERS if slow else _QUICK_NUMBERS).items():
        latest: dict[str, Any] = snapshot[part]  # type: ignore[literal-required] # a part
        before = shown[part]
        values = list(map(latest.get, names))
        differ = map(ne, values, map(before.get, names))
        if changed := dict(compress(zip(names, values, strict=True), differ)):
            before.update(changed)
            patch[part] = changed
    return patch


def add_own(
    patch: dict[str, Any], shown: dict[str, Any], use: Column, own: dict[str, Any]
) -> dict[str, Any]:
    """Adds the members that are the broker's to what `follow` has found."""
    gpus = shown["gpus"]
    if gpus and gpus["use"] is not use and gpus["use"] != use:
        gpus["use"] = patch.setdefault("gpus", {})["use"] = use
    if own:
        _tell_own(shown, own, patch)
    return patch


def _tell_own(shown: dict[str, Any], own: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in own.items():
        if type(value) is dict:
            if changed := _scalars(shown[key], value, True):
                patch[key] = changed
        elif key not in shown or not same(shown[key], value):
            shown[key] = patch[key] = value


def _scalars(shown: Scalars, latest: Scalars, everything: bool) -> Scalars:
    patch: Scalars = {}
    for key, value in latest.items():
        if key in shown:
            before = shown[key]
            if before is value or (key in SLOW_SYSTEM and not everything):
                continue
            if type(before) is dict and type(value) is dict:
                if inner := compare(before, value):
                    patch[key] = inner
                    shown[key] = value
                continue
            if same(before, value):
                continue
        shown[key] = patch[key] = value
    if len(shown) > len(latest):
        for key in shown.keys() - latest.keys():
            del shown[key]
            patch[key] = None
    return patch


def _table(shown: Table, latest: Table, name: str, everything: bool) -> Scalars:
    """A table's changed columns, None for one that is gone.

    When an identity column changes, or the number of rows, every changed column travels, so
    that no value ever stands on another's row.
    """
    patch: Scalars = {}
    changed = list(compress(latest, map(is_not, latest.values(), map(shown.get, latest))))
    waiting = SLOW_COLUMNS[name]
    if everything or waiting.isdisjoint(changed) or _moved(shown, latest, changed, name):
        waiting = frozenset()
    for key in changed:
        before = shown.get(key)
        if key == "use" or (key in waiting and before is not None):
            continue  # `use` is the broker's own
        column = shown[key] = latest[key]
        if before != column or not same(before, column):
            patch[key] = column
    if len(shown) > len(latest):
        kept = latest.keys() | {"use"} if latest else ()
        for key in shown.keys() - kept:
            del shown[key]
            patch[key] = None
    return patch


def _moved(shown: Table, latest: Table, changed: list[str], name: str) -> bool:
    """Whether rows may have changed their places, or their number."""
    if not IDENTITY_COLUMNS[name].isdisjoint(changed):
        return True
    for key in changed:
        if key in shown:
            return len(shown[key]) != len(latest[key])
    return True


def _unknown(shown: dict[str, Any], snapshot: Snapshot, patch: dict[str, Any]) -> None:
    """Members of a newer collector pass through whenever they change."""
    latest: dict[str, Any] = {key: value for key, value in snapshot.items() if key not in _OWN}
    before = {key: value for key, value in shown.items() if key not in _OWN}
    patch.update(compare(before, latest))
    for key in before.keys() - latest.keys():
        del shown[key]
    shown.update(latest)


def bookkeeping(snapshot: Snapshot, heard_at: float, age: float) -> dict[str, Any]:
    """The members of BOOKKEEPING: `clock_offset_seconds` is how far the host's wall clock is
    ahead of the broker's (seconds; a constant delay of the link stands in it as well)."""
    offset = snapshot["sampled_at"] - (heard_at - age)
    values = (round(heard_at, 3), snapshot["sequence"], round(offset, 2), snapshot["collector"])
    return dict(zip(BOOKKEEPING, values, strict=True))
