"""The document as metrics, for those who keep its history or raise alarms; pure.

Only live hosts have values. Of the others, and of all while the broker is lost, it is said that
they are not up; their values end there, which Prometheus takes notice of. What is not known is
left out. There are as many labels as hosts, GPUs, disks and users: no process has any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from gpu_monitor.web.api.exposition import Family, joined, label, labels
from gpu_monitor.web.api.metric_names import (
    BROKER,
    COLLECTOR,
    DISKS,
    GPUS,
    HOSTS,
    LOAD,
    LOAD_COUNTS,
    PREFIX,
    SYSTEM,
    TOTALS,
    USERS,
    Measure,
)
from gpu_monitor.wire.replica import Document

HOST_STATES = ("live", "stale", "missing", "conflict")
GPU_HEALTH = ("ok", "degraded", "failed")
GPU_STATES = ("ok", "lost", "asleep", "error")
USES = ("busy", "free", "held_idle")
_ABOUT_SYSTEM = ("hostname", "os", "kernel", "driver_version", "cuda_version")

Members: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = tuple[Sequence[str | None], Members]
"""A table, and the labels of its rows; None for a row of which nothing is told."""


def metrics(document: Document) -> Iterator[Family]:
    """All families of a document."""
    hosts: dict[str, Any] = document["hosts"]
    is_heard = document["broker"]["state"] == "live"
    yield from _servers(document, is_heard)
    yield from _states(hosts, is_heard)
    if is_heard:
        yield from _values(TOTALS, [("", document["totals"])])
        yield from _users(document["users"])
        live = {name: host for name, host in hosts.items() if host["state"] == "live"}
        yield from _hosts(live)
        yield from _gpus(live)


def viewers(now: int, cut: Mapping[str, int], refused: int) -> Iterator[Family]:
    """What is told of this server beside the document: who watches, and who was sent away."""
    yield _gauge("web_viewers", "Open pages and other websockets.", [("", now)])
    reasons = [(labels(reason=reason), n) for reason, n in cut.items()]
    help = "Viewers cut for taking no bytes (slow) or answering no pings (silent)."
    yield _counter("web_cut_viewers_total", help, reasons)
    help = "Viewers refused because all places were taken."
    yield _counter("web_refused_viewers_total", help, [("", refused)])


def _servers(document: Document, is_heard: bool) -> Iterator[Family]:
    broker: Members = document["broker"] if is_heard else {}
    parts = {"web": document["web"], "broker": broker}
    builds = [labels(part=part, version=of.get("version")) for part, of in parts.items() if of]
    yield _info("build_info", "Versions of the servers.", builds)
    warnings = len(document["web"].get("warnings", ()))
    yield _gauge("web_warnings", "Warnings of this web server, see the page.", [("", warnings)])
    yield _gauge("broker_up", "Whether the broker is heard.", [("", int(is_heard))])
    yield from _values(BROKER, [("", broker)])
    refused = [(labels(reason=reason), n) for reason, n in broker.get("refused", {}).items()]
    help = "Messages that the broker refused since it started."
    yield _counter("broker_refused_messages_total", help, refused)
    load: Members = broker.get("load", {})
    yield from _values(LOAD, [("", load)])
    for field, help in LOAD_COUNTS.items():
        if field in load:
            yield _counter(f"broker_{field}_total", help, [("", load[field])])
    if is_heard:
        warnings = len(broker.get("warnings", ()))
        yield _gauge("broker_warnings", "Warnings of the broker, see the page.", [("", warnings)])
        simulated = int(document.get("simulated") is True)
        yield _gauge("simulated", "Whether the fleet is a made-up one.", [("", simulated)])


def _states(hosts: Members, is_heard: bool) -> Iterator[Family]:
    """While the broker is lost a live host is taken for a stale one."""
    states = {labels(host=name): host["state"] for name, host in hosts.items()}
    if not is_heard:
        states = {own: "stale" if state == "live" else state for own, state in states.items()}
    up = [(own, int(state == "live")) for own, state in states.items()]
    yield _gauge("host_up", "Whether the host is live.", up)
    yield _one_of("host_state", "The host's state.", "state", HOST_STATES, states.items())


def _users(users: Members) -> Iterator[Family]:
    told = [(labels(user=name), user) for name, user in users.items()]
    yield from _values(USERS, told)
    hosts = [(own, len(user["hosts"])) for own, user in told if "hosts" in user]
    yield _gauge("user_hosts", "Hosts on which the user has processes.", hosts)


def _hosts(hosts: Members) -> Iterator[Family]:
    told = [(name, labels(host=name), host) for name, host in hosts.items()]
    systems = [(name, own, host.get("system", {})) for name, own, host in told]
    collectors = [(name, own, host.get("collector", {})) for name, own, host in told]
    about = [
        labels(host=name, **{word: system.get(word) for word in _ABOUT_SYSTEM})
        for name, _, system in systems
    ]
    yield _info("host_info", "What the host is.", about)
    versions = [labels(host=name, version=of.get("version")) for name, _, of in collectors]
    yield _info("collector_info", "Version of the host's collector.", versions)
    for measures, parts in ((HOSTS, told), (SYSTEM, systems), (COLLECTOR, collectors)):
        yield from _values(measures, [(own, part) for _, own, part in parts])
    problems = [(own, len(host.get("problems", ()))) for _, own, host in told]
    yield _gauge("host_problems", "Problems there, in words on the page.", problems)
    disks = [(name, host.get("disks", {})) for name, _, host in told]
    yield from _columns(DISKS, [(_disk_labels(name, table), table) for name, table in disks])


def _gpus(hosts: Members) -> Iterator[Family]:
    tables = {name: host.get("gpus", {}) for name, host in hosts.items()}
    rows = [(_gpu_labels(name, gpus), gpus) for name, gpus in tables.items()]
    yield _one_of("gpu_state", "The GPU's state.", "state", GPU_STATES, _cells("state", rows))
    yield _one_of("gpu_use", "What is made of the GPU.", "use", USES, _cells("use", rows))
    yield _one_of("gpu_health", "The GPU's health.", "state", GPU_HEALTH, _cells("health", rows))
    health_reasons = ((own, len(words)) for own, words in _cells("health_reasons", rows))
    yield _gauge(
        "gpu_health_reasons", "What is wrong with the GPU, in words on the page.", health_reasons
    )
    yield from _columns(GPUS, [(_unless_lost(own, gpus), gpus) for own, gpus in rows])


def _gpu_labels(host: str, gpus: Members) -> list[str]:
    unknown = [None] * len(gpus.get("index", ()))
    uuids, models = (gpus.get(column, unknown) for column in ("uuid", "name"))
    return [
        labels(host=host, gpu=gpu, uuid=uuid, model=model)
        for gpu, uuid, model in zip(_gpu_names(gpus), uuids, models, strict=True)
    ]


def _gpu_names(gpus: Members) -> Iterator[str]:
    """As on the page: a GPU's index, and for the slices of GPU 0 "0.0", "0.1" and so on."""
    index = gpus.get("index", ())
    slices = [0] * len(index)
    for own, parent in zip(index, gpus.get("parent", [None] * len(index)), strict=True):
        if parent is None:
            yield str(own)
        else:
            yield f"{index[parent]}.{slices[parent]}"
            slices[parent] += 1


def _disk_labels(host: str, disks: Members) -> list[str]:
    return [labels(host=host, mount=mount) for mount in disks.get("mount", ())]


def _unless_lost(rows: Sequence[str], gpus: Members) -> list[str | None]:
    lost = {row for row, state in enumerate(gpus.get("state", ())) if state == "lost"}
    return [None if row in lost else own for row, own in enumerate(rows)]


def _cells(column: str, tables: Iterable[Rows]) -> Iterator[tuple[str, Any]]:
    """The known values of a column in all tables."""
    for rows, table in tables:
        for own, value in zip(rows, table.get(column, ()), strict=False):
            if value is not None and own is not None:
                yield own, value


def _columns(measures: Iterable[Measure], tables: Sequence[Rows]) -> Iterator[Family]:
    for field, name, help, scale in measures:
        cells = _cells(field, tables)
        yield Family(name, "gauge", help, ((own, scale(value)) for own, value in cells))


def _values(measures: Iterable[Measure], told: Sequence[tuple[str, Members]]) -> Iterator[Family]:
    for field, name, help, scale in measures:
        known = [(own, scale(of[field])) for own, of in told if field in of]
        yield Family(name, "gauge", help, known)


def _one_of(
    name: str, help: str, what: str, values: Sequence[str], told: Iterable[tuple[str, Any]]
) -> Family:
    """1 for the value that holds, 0 for each of the others."""
    choices = [(value, label(what, value)) for value in values]
    samples = (
        (joined(own, choice), int(value == holds))
        for own, holds in told
        for value, choice in choices
    )
    return _gauge(name, help, samples)


def _gauge(name: str, help: str, samples: Iterable[tuple[str, float]]) -> Family:
    return Family(PREFIX + name, "gauge", help, samples)


def _counter(name: str, help: str, samples: Iterable[tuple[str, float]]) -> Family:
    return Family(PREFIX + name, "counter", help, samples)


def _info(name: str, help: str, told: Iterable[str]) -> Family:
    return Family(PREFIX + name, "info", help, [(own, 1) for own in told])
