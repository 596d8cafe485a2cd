"""What each role may see of the document and of patches on it; pure.

Threat: a viewer reads more than its role allows, in a member that was overlooked. So a limited
role sees what is listed here and nothing else: a column that only a newer collector sends stays
hidden, and so does a value of an unexpected type. Redaction works member by member; a redacted
patch applied to a redacted document therefore gives the redacted new document. The operator
chooses roles in the viewers' file and by `viewer_role`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from gpu_monitor.web.settings import Role
from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    DISK_COLUMNS,
    FINDING_COLUMNS,
    GPU_COLUMNS,
    PROCESS_COLUMNS,
    SYSTEM_FIELDS,
    USE_COLUMNS,
)
from gpu_monitor.wire.patch import merge
from gpu_monitor.wire.replica import Document, Patch

HIDDEN_REASON = "a fault (your role does not include the details)"
"""Replaces each of a GPU's `health_reasons`, whose text comes from the collector."""

_COMMAND_COLUMNS = {"command", "container", "slurm_job_id", "pod_uid"}
_USER_COLUMNS = {"user", "uid", "group", "effective_user", "pid"}
"""Not `cpu_percent` and `host_memory_mib`: like `gpu_memory_mib` they name nobody."""
_WORDY_COLUMNS = {"words", "advice"}
"""Texts about a fault, which may name users and their commands."""

Rule: TypeAlias = Callable[[Any], Any]
"""The visible part of a value; None if there is none, which in a patch deletes the member."""


def redact_document(document: Document, role: Role) -> Document:
    """The document as `role` sees it; its member `web.role` names the role."""
    visible = document if role == "commands" else merge({}, _FLEET_RULES[role](document))
    if role == "counts":
        visible["users"] = {}
    return {**visible, "web": {**visible.get("web", {}), "role": role}}


def redact_patch(patch: Patch, role: Role) -> Patch:
    """The patch as `role` sees it."""
    visible: Patch = patch if role == "commands" else _FLEET_RULES[role](patch)
    return visible


def redact_host(host: dict[str, Any], role: Role) -> dict[str, Any]:
    """One host of the document as `role` sees it."""
    visible: dict[str, Any] = host if role == "commands" else merge({}, _HOST_RULES[role](host))
    return visible


def redact_recent(recent: dict[str, Any], role: Role) -> dict[str, Any]:
    """The last hour, which names no users, as `role` sees it."""
    return (
        recent if role == "commands" else {k: v for k, v in recent.items() if k in _RECENT_MEMBERS}
    )


def _whole(value: Any) -> Any:
    return value


def _only(names: Iterable[str]) -> Rule:
    """These members of an object, unchanged. Usually it has no others and is not copied."""
    shown = frozenset(names)

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        if shown.issuperset(value):
            return value
        return {name: member for name, member in value.items() if name in shown}

    return rule


def _without(columns: Iterable[str], hidden: set[str]) -> frozenset[str]:
    """The other columns. ValueError if a hidden one does not exist: renamed, it would be shown."""
    shown = frozenset(columns)
    if not hidden <= shown:
        raise ValueError(f"no column is named {' or '.join(sorted(hidden - shown))}")
    return shown - hidden


def _members(rules: Mapping[str, Rule]) -> Rule:
    """These members of an object, each redacted by its own rule."""

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        return {name: rules[name](member) for name, member in value.items() if name in rules}

    return rule


def _each(inner: Rule) -> Rule:
    """Every member of an object, with any name, redacted by one rule."""

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        return {name: inner(member) for name, member in value.items()}

    return rule


def _number(value: Any) -> Any:
    return value if type(value) in (int, float) else None


def _without_text(value: Any) -> Any:
    return [HIDDEN_REASON] * len(value) if type(value) is list else None


def _of_gpus(names: Iterable[str]) -> Rule:
    """These columns; of `health_reasons` only how many there are."""
    only = _only(names)

    def rule(value: Any) -> Any:
        visible = only(value)
        if visible is None or type(column := visible.get("health_reasons")) is not list:
            return visible
        return {**visible, "health_reasons": [_without_text(words) for words in column]}

    return rule


def _host(**own: Rule) -> Rule:
    named = dict.fromkeys(("state", "heard_at", "sequence", "clock_offset_seconds"), _whole)
    system, collector = _only(SYSTEM_FIELDS), _only(COLLECTOR_FIELDS)
    return _members({**named, "system": system, "collector": collector, **own})


def _fleet(host: Rule, **own: Rule) -> Rule:
    named = dict.fromkeys(
        (
            "version",
            "now",
            "interval_seconds",
            "tick_seconds",
            "stale_after_seconds",
            "simulated",
        ),
        _whole,
    )
    broker = _only(("state", "heard_at", "started_at", "version", "refused", "load", "warnings"))
    web, totals = _only(("version", "assets", "warnings")), _each(_number)
    return _members(
        {**named, "broker": broker, "web": web, "totals": totals, "hosts": _each(host), **own}
    )


_GPUS = frozenset((*GPU_COLUMNS, *USE_COLUMNS))
_RECENT_MEMBERS = {
    "until",
    "minute_seconds",
    "uuid",
    "utilization_percent",
    "memory_used_mib",
    "power_watts",
}
_HOST_RULES: dict[Role, Rule] = {
    "counts": _host(
        gpus=_of_gpus(_without(_GPUS, {"reason", "processes_unread"})),
        processes=_only(_without(PROCESS_COLUMNS, _COMMAND_COLUMNS | _USER_COLUMNS)),
        findings=_only(_without(FINDING_COLUMNS, _WORDY_COLUMNS)),
    ),
    "names": _host(
        gpus=_only(_GPUS),
        processes=_only(_without(PROCESS_COLUMNS, _COMMAND_COLUMNS)),
        disks=_only(DISK_COLUMNS),
        findings=_only(FINDING_COLUMNS),
    ),
}
_FLEET_RULES: dict[Role, Rule] = {
    "counts": _fleet(_HOST_RULES["counts"]),
    "names": _fleet(_HOST_RULES["names"], users=_whole),
}
