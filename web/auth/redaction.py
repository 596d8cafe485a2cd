"""What a role may see of the document; pure, and the same for a patch on it.

Whoever may not see all is shown what is named here and nothing else, so that a column which only
a newer collector knows stays hidden until somebody decides. Member by member, and whatever has
another type than it should is hidden too: so what is seen of a patch, applied to what was seen
of the document, is what is seen of the new document.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from gpu_monitor.web.settings import Role
from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    DISK_COLUMNS,
    GPU_COLUMNS,
    PROCESS_COLUMNS,
    SYSTEM_FIELDS,
)
from gpu_monitor.wire.patch import merge
from gpu_monitor.wire.replica import Document, Patch

HIDDEN_PROBLEM = "a problem, which is told in words to those who may see names"
"""In the place of the words of each problem, and of what a GPU ails from: they are the
collector's, and may name anybody."""

_WHAT_RUNS = {"command", "container", "slurm_job_id", "pod_uid"}
_WHO = {"user", "uid", "effective_user", "pid"}

Rule: TypeAlias = Callable[[Any], Any]
"""What is seen of a value; None for nothing of it, which in a patch deletes."""


def see(document: Document, role: Role) -> Document:
    """The document as `role` sees it; `web.role` says whose view it is."""
    seen = document if role == "commands" else merge({}, _FLEET[role](document))
    if role == "counts":
        seen["users"] = {}
    return {**seen, "web": {**seen.get("web", {}), "role": role}}


def see_patch(patch: Patch, role: Role) -> Patch:
    """The patch as `role` sees it."""
    seen: Patch = patch if role == "commands" else _FLEET[role](patch)
    return seen


def see_host(host: dict[str, Any], role: Role) -> dict[str, Any]:
    """One host of the document as `role` sees it."""
    seen: dict[str, Any] = host if role == "commands" else merge({}, _HOST[role](host))
    return seen


def see_recent(recent: dict[str, Any], role: Role) -> dict[str, Any]:
    """The last hour, in which nobody is named, as `role` sees it."""
    return recent if role == "commands" else {k: v for k, v in recent.items() if k in _RECENT}


def _whole(value: Any) -> Any:
    return value


def _only(names: Iterable[str]) -> Rule:
    """Those members of an object, whole; most often it has no others."""
    shown = frozenset(names)

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        if shown.issuperset(value):
            return value
        return {name: member for name, member in value.items() if name in shown}

    return rule


def _members(rules: Mapping[str, Rule]) -> Rule:
    """Those members of an object, each as its rule shows it."""

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        return {name: rules[name](member) for name, member in value.items() if name in rules}

    return rule


def _each(inner: Rule) -> Rule:
    """Every member of an object, whatever its name."""

    def rule(value: Any) -> Any:
        if type(value) is not dict:
            return None
        return {name: inner(member) for name, member in value.items()}

    return rule


def _number(value: Any) -> Any:
    return value if type(value) in (int, float) else None


def _without_words(value: Any) -> Any:
    return [HIDDEN_PROBLEM] * len(value) if type(value) is list else None


def _of_gpus(names: Iterable[str]) -> Rule:
    """Those columns, of which `health_reasons` only tells how many there are."""
    only = _only(names)

    def rule(value: Any) -> Any:
        seen = only(value)
        if seen is None or type(column := seen.get("health_reasons")) is not list:
            return seen
        return {**seen, "health_reasons": [_without_words(words) for words in column]}

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


_GPUS = frozenset(GPU_COLUMNS) | {"use"}
_RECENT = {
    "until",
    "minute_seconds",
    "uuid",
    "utilization_percent",
    "memory_used_mib",
    "power_watts",
}
_HOST: dict[Role, Rule] = {
    "counts": _host(
        gpus=_of_gpus(_GPUS - {"reason"}),
        processes=_only(PROCESS_COLUMNS.keys() - _WHAT_RUNS - _WHO),
        problems=_without_words,
    ),
    "names": _host(
        gpus=_only(_GPUS),
        processes=_only(PROCESS_COLUMNS.keys() - _WHAT_RUNS),
        disks=_only(DISK_COLUMNS),
        problems=_whole,
    ),
}
_FLEET: dict[Role, Rule] = {
    "counts": _fleet(_HOST["counts"]),
    "names": _fleet(_HOST["names"], users=_whole),
}
