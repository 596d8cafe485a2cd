"""A whole message, decoded and checked member by member, and what it changes in a snapshot."""

from typing import Any, TypeAlias

from msgspec import Raw

from gpu_monitor.wire.document import (
    FINDING_COLUMNS,
    REQUIRED_COLUMNS,
    TABLES,
    VERSION,
    Column,
    Snapshot,
)
from gpu_monitor.wire.limits import WireError, is_host_name
from gpu_monitor.wire.patch import same
from gpu_monitor.wire.schema import (
    EMPTY,
    MEMBERS,
    UNKNOWN_COLUMN,
    VALUES,
    Decode,
    Members,
    decode_anything,
    missing,
    open_object,
    refusal,
)
from gpu_monitor.wire.shared_columns import SharedColumns
from gpu_monitor.wire.unknown_members import Allowance, check_unknown

Moves: TypeAlias = dict[str, dict[str, Any]]
"""New values by part of the snapshot ("" for its own members) and member; None: it is gone."""

_REQUIRED = Snapshot.__annotations__.keys() - EMPTY.keys()
SHARED_COLUMNS = {
    "gpus": frozenset(
        (
            "index",
            "name",
            "state",
            "reason",
            "parent",
            "mig_profile",
            "mig_mode",
            "compute_mode",
            "activity",
            "processes_unread",
            "memory_kind",
            "memory_total_mib",
            "power_limit_watts",
            "stalled_since",
            "throttle",
            "health_reasons",
        )
    ),
    "processes": frozenset(
        (
            "gpu",
            "user",
            "uid",
            "group",
            "effective_user",
            "command",
            "container",
            "slurm_job_id",
            "pod_uid",
            "state",
            "type",
            "mps",
        )
    ),
    "disks": frozenset(("mount",)),
    "findings": frozenset(FINDING_COLUMNS),
}
"""Columns that are the same on many hosts, or whose texts are: stored once."""
_shared = SharedColumns()
_PLAIN = {
    part: {
        key: decode
        for key, decode in decoders.items()
        if key not in SHARED_COLUMNS.get(part, ()) and key not in REQUIRED_COLUMNS.get(part, ())
    }
    for part, decoders in VALUES.items()
}
"""The members that are simply decoded."""
_KNOWN_NAMES = {name: name for names in (MEMBERS, *VALUES.values()) for name in names}
"""One object for a name that all hosts have: that saves memory, and time at every lookup."""


def read_in_full(data: bytes, before: dict[str, Any]) -> Moves:
    """What differs from the snapshot `before`, which is empty for a first message.

    Raises WireError for whatever the types or the limits do not allow, and nothing else. Members
    that a newer collector adds pass through; its null scalars are left out.
    """
    return _FullReader(data, before).moves()


class _FullReader:
    def __init__(self, data: bytes, before: dict[str, Any]) -> None:
        self._members = open_object(data, "the message")
        self._before = before
        self._allowance = Allowance()
        self._moves: Moves = {"": {}}
        self._tables: dict[str, dict[str, Column]] = {}

    def moves(self) -> Moves:
        members = self._members
        _check_version(members)
        for key in _REQUIRED - members.keys():
            raise missing(key)
        own = self._decode("", {key: members[key] for key in members if key not in VALUES}, MEMBERS)
        if not is_host_name(own["name"]):
            raise WireError("name", "name is not 1 to 253 of A-Z a-z 0-9 . _ : -")
        for part in VALUES:
            packed = open_object(members.get(part, EMPTY[part]), part)
            values = self._decode(part, packed, _PLAIN[part])
            if part in TABLES:
                _check_table(part, values)
                self._tables[part] = values
            self._moves[part] = _differing(values, self._before.get(part, {}))
        self._check_rows()
        before = {key: value for key, value in self._before.items() if key not in VALUES}
        self._moves[""] = _differing(own, before)
        return self._moves

    def _decode(self, part: str, packed: Members, decoders: dict[str, Decode]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        key = ""
        try:
            for key, raw in packed.items():
                decode = decoders.get(key)
                value = self._decode_other(part, key, raw) if decode is None else decode(raw)
                if value is not None:
                    values[_KNOWN_NAMES.get(key, key)] = value
        except WireError:
            raise
        except Exception as error:
            raise refusal(error, f"{part}.{key}" if part else key) from None
        return values

    def _decode_other(self, part: str, key: str, raw: Raw) -> object:
        """A column that is shared or required, or a member of a newer collector."""
        decode = VALUES[part].get(key) if part else None
        if decode is None:
            return self._decode_unknown(part, f"{part}.{key}" if part else key, raw)
        is_shared = key in SHARED_COLUMNS[part]
        column: Column = _shared.column(decode, bytes(raw)) if is_shared else decode(raw)
        if key in REQUIRED_COLUMNS[part] and None in column:
            raise WireError("missing", f"{part}.{key} must have a value in every row")
        return column

    def _decode_unknown(self, part: str, what: str, raw: Raw) -> object:
        if part not in TABLES:
            return check_unknown(decode_anything(raw), what, self._allowance)
        column: Column = UNKNOWN_COLUMN[part](raw)
        self._allowance.spend(len(column), what)
        return [check_unknown(value, what, self._allowance) for value in column]

    def _check_rows(self) -> None:
        """Every `parent` and every `gpu` of a process or finding names a row of `gpus`."""
        gpus, processes = self._tables["gpus"], self._tables["processes"]
        findings = self._tables["findings"]
        rows = len(gpus.get("index", ()))
        for what, column in (
            ("gpus.parent", gpus.get("parent", ())),
            ("processes.gpu", processes.get("gpu", ())),
            ("findings.gpu", findings.get("gpu", ())),
        ):
            if max((row for row in column if row is not None), default=-1) >= rows:
                raise WireError("value", f"{what} names a row that gpus does not have")


def _check_version(members: Members) -> None:
    try:
        version = decode_anything(members["version"]) if "version" in members else None
    except Exception as error:
        raise refusal(error, "version") from None
    if type(version) is not int or version != VERSION:
        shown = repr(version)[:20]
        raise WireError("version", f"version {shown} is not {VERSION}: other major version")


def _check_table(part: str, table: dict[str, Column]) -> None:
    lengths = set(map(len, table.values()))
    if len(lengths) > 1:
        raise WireError("length", f"the columns of {part} differ in length")
    if any(lengths) and not table.keys() >= REQUIRED_COLUMNS[part]:
        names = " and ".join(sorted(REQUIRED_COLUMNS[part]))
        raise WireError("missing", f"{part} must have {names}")


def _differing(values: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    moves: dict[str, Any] = dict.fromkeys(before.keys() - values.keys())
    for key, value in values.items():
        if key not in before or not same(before[key], value):
            moves[key] = value
    return moves
