"""The document as metrics, for monitoring systems that keep history or raise alerts; pure.

Only live hosts have values. Other hosts, and all hosts while the broker is lost, are reported as
not up and have no other samples, which Prometheus records as the end of their series. Unknown
values are omitted. The number of series depends on hosts, GPUs, disks and users; processes have
none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gpu_monitor.web.api.exposition import Family, labels
from gpu_monitor.web.api.families import (
    Members,
    counter,
    from_columns,
    from_members,
    gauge,
    info,
    state_set,
)
from gpu_monitor.web.api.gpu_metrics import gpu_metrics
from gpu_monitor.web.api.metric_names import (
    BROKER_METRICS,
    COLLECTOR_METRICS,
    DISK_METRICS,
    HOST_METRICS,
    LOAD_COUNTERS,
    LOAD_METRICS,
    SYSTEM_METRICS,
    TOTAL_METRICS,
    USER_METRICS,
)
from gpu_monitor.wire.replica import Document

HOST_STATES = ("live", "stale", "missing", "conflict")
_HOST_INFO = ("hostname", "os", "kernel", "driver_version", "cuda_version")


def fleet_metrics(document: Document) -> Iterator[Family]:
    """All families of a document."""
    hosts: dict[str, Any] = document["hosts"]
    is_live = document["broker"]["state"] == "live"
    yield from _servers(document, is_live)
    yield from _host_states(hosts, is_live)
    if is_live:
        yield from from_members(TOTAL_METRICS, [("", document["totals"])])
        yield from _users(document["users"])
        live = {name: host for name, host in hosts.items() if host["state"] == "live"}
        yield from _hosts(live)
        yield from gpu_metrics(live)


def viewer_metrics(
    now: int, cut: Mapping[str, int], refused: int, malformed: int, rejected: Mapping[str, int]
) -> Iterator[Family]:
    """This server's own figures, which are not in the document."""
    yield gauge("web_viewers", "Open pages and other websockets.", [("", now)])
    reasons = [(labels(reason=reason), n) for reason, n in cut.items()]
    help = "Viewers cut because they took no bytes (slow) or answered no pings (silent)."
    yield counter("web_cut_viewers_total", help, reasons)
    help = "Viewers refused because the server was full."
    yield counter("web_refused_viewers_total", help, [("", refused)])
    help = "Messages from the broker's address that no broker sends, and that were not used."
    yield counter("web_malformed_updates_total", help, [("", malformed)])
    reasons = [(labels(reason=reason), n) for reason, n in rejected.items()]
    help = "Connections and messages that were turned away before they were read."
    yield counter("web_rejected_total", help, reasons)


def _servers(document: Document, is_live: bool) -> Iterator[Family]:
    broker: Members = document["broker"] if is_live else {}
    parts = {"web": document["web"], "broker": broker}
    builds = [labels(part=part, version=of.get("version")) for part, of in parts.items() if of]
    yield info("build_info", "Versions of web server and broker.", builds)
    warnings = len(document["web"].get("warnings", ()))
    help = "Warnings about this web server; the page shows them."
    yield gauge("web_warnings", help, [("", warnings)])
    yield gauge("broker_up", "Whether the broker is connected.", [("", int(is_live))])
    yield from from_members(BROKER_METRICS, [("", broker)])
    yield from _broker_counts(broker)
    if is_live:
        warnings = len(broker.get("warnings", ()))
        help = "Warnings about the broker; the page shows them."
        yield gauge("broker_warnings", help, [("", warnings)])
        simulated = int(document.get("simulated") is True)
        yield gauge("simulated", "Whether the fleet is simulated.", [("", simulated)])


def _broker_counts(broker: Members) -> Iterator[Family]:
    refused = [(labels(reason=reason), n) for reason, n in broker.get("refused", {}).items()]
    help = "Messages refused by the broker since it started."
    yield counter("broker_refused_messages_total", help, refused)
    load: Members = broker.get("load", {})
    yield from from_members(LOAD_METRICS, [("", load)])
    for field, help in LOAD_COUNTERS.items():
        if field in load:
            yield counter(f"broker_{field}_total", help, [("", load[field])])


def _host_states(hosts: Members, is_live: bool) -> Iterator[Family]:
    """While the broker is lost, live hosts count as stale."""
    states = {labels(host=name): host["state"] for name, host in hosts.items()}
    if not is_live:
        states = {own: "stale" if state == "live" else state for own, state in states.items()}
    up = [(own, int(state == "live")) for own, state in states.items()]
    yield gauge("host_up", "Whether the host is live.", up)
    help = "The host's state: live, stale, missing or conflict."
    yield state_set("host_state", help, "state", HOST_STATES, states.items())


def _users(users: Members) -> Iterator[Family]:
    labelled = [(labels(user=name), user) for name, user in users.items()]
    yield from from_members(USER_METRICS, labelled)
    hosts = [(own, len(user["hosts"])) for own, user in labelled if "hosts" in user]
    yield gauge("user_hosts", "Hosts on which the user has processes.", hosts)


def _hosts(hosts: Members) -> Iterator[Family]:
    labelled = [(labels(host=name), host) for name, host in hosts.items()]
    systems = [(name, host.get("system", {})) for name, host in hosts.items()]
    yield info("host_info", "Names and versions of the host's system.", map(_host_info, systems))
    yield from _collector_versions(hosts)
    yield from from_members(HOST_METRICS, labelled)
    for measures, part in ((SYSTEM_METRICS, "system"), (COLLECTOR_METRICS, "collector")):
        yield from from_members(measures, [(own, host.get(part, {})) for own, host in labelled])
    help = "Number of findings of a kind and severity on the host; the page lists them."
    yield gauge("host_findings", help, _finding_counts(hosts))
    disks = [(name, host.get("disks", {})) for name, host in hosts.items()]
    yield from from_columns(
        DISK_METRICS, [(_disk_labels(name, table), table) for name, table in disks]
    )


def _host_info(named: tuple[str, Members]) -> str:
    name, system = named
    return labels(host=name, **{key: system.get(key) for key in _HOST_INFO})


def _collector_versions(hosts: Members) -> Iterator[Family]:
    versions = [
        labels(host=name, version=host.get("collector", {}).get("version"))
        for name, host in hosts.items()
    ]
    yield info("collector_info", "Version of the host's collector.", versions)


def _finding_counts(hosts: Members) -> Iterator[tuple[str, int]]:
    """Only of kinds and severities that the host has now."""
    for name, host in hosts.items():
        table = host.get("findings", {})
        rows = zip(table.get("kind", ()), table.get("severity", ()), strict=True)
        for (kind, severity), number in Counter(rows).items():
            yield labels(host=name, kind=kind, severity=severity), number


def _disk_labels(host: str, disks: Members) -> list[str]:
    return [labels(host=host, mount=mount) for mount in disks.get("mount", ())]
