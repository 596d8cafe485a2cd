"""Which changes of a host are published now and which wait; pure.

Each function brings `published`, a host's part of the document, up to date and returns the patch
that does the same. Columns are shared with the snapshot, and replaced rather than changed.
"""

from itertools import compress
from operator import is_not, ne
from typing import Any

from gpu_monitor.broker.gpu_use import Uses
from gpu_monitor.wire.changes import NUMBER_MEMBERS
from gpu_monitor.wire.document import (
    IDENTITY_COLUMNS,
    SLOW_COLUMNS,
    SLOW_SYSTEM,
    TABLES,
    USE_COLUMNS,
    Host,
    Scalars,
    Snapshot,
    Table,
)
from gpu_monitor.wire.patch import compare, same

_RESERVED = Host.__annotations__.keys() | Snapshot.__annotations__.keys()
"""Members that a newer collector cannot add to its host."""
_SNAPSHOT_MEMBERS = len(Snapshot.__annotations__)
_HOST_MEMBERS = len(Host.__annotations__)
_SLOW_MEMBERS: dict[str, frozenset[str]] = {"system": SLOW_SYSTEM, **SLOW_COLUMNS}
_SENT_TABLES = tuple(table for table in TABLES if table != "findings")
"""Tables that are published as they are sent; the broker adds rows to `findings`."""
_ALL_NUMBERS = {part: tuple(NUMBER_MEMBERS[part]) for part in _SLOW_MEMBERS if NUMBER_MEMBERS[part]}
_QUICK_NUMBERS = {
    part: quick
    for part, slow in _SLOW_MEMBERS.items()
    if (quick := tuple(NUMBER_MEMBERS[part] - slow))
}


def advance_all(
    published: dict[str, Any],
    snapshot: Snapshot,
    uses: Uses,
    own: dict[str, Any],
    everything: bool,
) -> dict[str, Any]:
    """Compares the whole host.

    `own` holds the broker's members that are due: state, findings, bookkeeping. Without
    `everything`, slow values that differ wait for their turn.
    """
    patch: dict[str, Any] = {}
    if "system" not in published:  # at first, empty parts have to be there as well
        for key in ("system", "collector", *TABLES):
            published[key], patch[key] = {}, {}
    _advance_members(published, patch, own)
    if changed := _scalars(published["system"], snapshot["system"], everything):
        patch["system"] = changed
    for key in _SENT_TABLES:
        table: Table = snapshot[key]  # type: ignore[literal-required] # a member of Snapshot
        if changed := _table(published[key], table, key, everything):
            patch[key] = changed
    if snapshot["gpus"]:
        _advance_use(published, patch, uses)
    if len(snapshot) != _SNAPSHOT_MEMBERS or len(published) != _HOST_MEMBERS:
        _advance_unknown(published, patch, snapshot)
    return patch


def advance_numbers(published: dict[str, Any], snapshot: Snapshot, slow: bool) -> dict[str, Any]:
    """As `advance_all` where nothing but numbers has changed; the slow ones only if `slow`."""
    patch: dict[str, Any] = {}
    for part, names in (_ALL_NUMBERS if slow else _QUICK_NUMBERS).items():
        latest: dict[str, Any] = snapshot[part]  # type: ignore[literal-required] # a part of it
        before = published[part]
        values = list(map(latest.get, names))
        differ = map(ne, values, map(before.get, names))
        if changed := dict(compress(zip(names, values, strict=True), differ)):
            before.update(changed)
            patch[part] = changed
    return patch


def advance_own(
    published: dict[str, Any], patch: dict[str, Any], uses: Uses, own: dict[str, Any]
) -> None:
    """Adds the broker's own members to a patch of `advance_numbers`."""
    if published["gpus"]:
        _advance_use(published, patch, uses)
    if own:
        _advance_members(published, patch, own)


def _advance_use(published: dict[str, Any], patch: dict[str, Any], uses: Uses) -> None:
    gpus = published["gpus"]
    for key, column in (("use", uses.use), ("use_reason", uses.reasons)):
        before = gpus.get(key)
        if before is not column and before != column:
            gpus[key] = patch.setdefault("gpus", {})[key] = column


def _advance_members(
    published: dict[str, Any], patch: dict[str, Any], members: dict[str, Any]
) -> None:
    for key, value in members.items():
        if type(value) is dict:
            if changed := _scalars(published[key], value, True):
                patch[key] = changed
        elif key not in published or not same(published[key], value):
            published[key] = patch[key] = value


def _scalars(published: Scalars, latest: Scalars, everything: bool) -> Scalars:
    patch: Scalars = {}
    for key, value in latest.items():
        if key in published:
            before = published[key]
            if before is value or (key in SLOW_SYSTEM and not everything):
                continue
            if type(before) is dict and type(value) is dict:
                if inner := compare(before, value):
                    patch[key] = inner
                    published[key] = value
                continue
            if same(before, value):
                continue
        published[key] = patch[key] = value
    if len(published) > len(latest):
        for key in published.keys() - latest.keys():
            del published[key]
            patch[key] = None
    return patch


def _table(published: Table, latest: Table, name: str, everything: bool) -> Scalars:
    """A table's changed columns; None for one that is gone.

    When an identity column or the number of rows changes, all changed columns travel, so that no
    value is ever shown in another's row.
    """
    patch: Scalars = {}
    changed = list(compress(latest, map(is_not, latest.values(), map(published.get, latest))))
    waiting = SLOW_COLUMNS[name]
    if everything or waiting.isdisjoint(changed) or _rows_moved(published, latest, changed, name):
        waiting = frozenset()
    for key in changed:
        before = published.get(key)
        if key in USE_COLUMNS or (key in waiting and before is not None):
            continue  # these are the broker's own
        column = published[key] = latest[key]
        if before != column or not same(before, column):
            patch[key] = column
    if len(published) > len(latest):
        kept = latest.keys() | USE_COLUMNS if latest else ()
        for key in published.keys() - kept:
            del published[key]
            patch[key] = None
    return patch


def _rows_moved(published: Table, latest: Table, changed: list[str], name: str) -> bool:
    """Whether rows may have changed their places or their number."""
    if not IDENTITY_COLUMNS[name].isdisjoint(changed):
        return True
    for key in changed:
        if key in published:
            return len(published[key]) != len(latest[key])
    return True


def _advance_unknown(published: dict[str, Any], patch: dict[str, Any], snapshot: Snapshot) -> None:
    """Members of a newer collector pass through whenever they change."""
    latest: dict[str, Any] = {key: value for key, value in snapshot.items() if key not in _RESERVED}
    before = {key: value for key, value in published.items() if key not in _RESERVED}
    patch.update(compare(before, latest))
    for key in before.keys() - latest.keys():
        del published[key]
    published.update(latest)
