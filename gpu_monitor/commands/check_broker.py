"""Whether this machine's link to the broker, or the broker on it, works."""

from collections.abc import Iterator, Mapping
from typing import Any

from gpu_monitor.broker.host_record import LIVE
from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.commands import probe
from gpu_monitor.commands.report_line import ReportLine, Surroundings, listed, warnings
from gpu_monitor.config import role_settings
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.curve.keys import KeysError

MAX_HOSTS_NAMED = 50
MAX_VERSION = 40
HOST_REMEDY = "run there: systemctl status gpu-monitor-collector; gpu-monitor check collector"


def report_lines(around: Surroundings) -> Iterator[ReportLine]:
    """What can be said from here about the broker, its ports and its hosts."""
    config, here = around.config, around.is_broker_here
    if here and role_settings.binds_too_narrowly(config):
        remedy = "remove it, or write an address that they can reach"
        yield ReportLine(False, f"broker: hosts cannot reach rpc_bind {config.rpc_bind}; {remedy}")
    if here and around.covers("broker"):
        yield from warnings("broker", role_settings.link_warnings(config))
    document, refusal = _receive_document(around)
    updates = f"{config.broker}:{config.updates_port}"
    if document is not None:
        yield from _check_document(document, updates, around.part)
    elif refusal and (here or around.part == "web"):
        yield ReportLine(False, f"broker: nothing received from {updates}: {refusal}")
    elif around.part == "broker" or (around.part == "web" and not here):
        remedy = "start gpu-monitor broker there, and check its updates_bind and firewalls"
        yield ReportLine(False, f"broker: nothing received from {updates}; {remedy}")
    elif here:
        rpc = role_settings.rpc_address(config)
        yield check_port("broker", rpc, config.rpc_port, "rpc_port")
        yield check_port("broker", config.updates_bind, config.updates_port, "updates_port")
    else:
        yield _check_rpc(around)


def check_states(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[ReportLine]:
    """One line for all live hosts, and one for each other host."""
    live = [name for name, host in hosts.items() if host["state"] == LIVE]
    others = [(name, host["state"]) for name, host in hosts.items() if host["state"] != LIVE]
    if live:
        yield ReportLine(True, f"live: {listed(live, MAX_HOSTS_NAMED)}")
    for name, state in others[:MAX_HOSTS_NAMED]:
        yield ReportLine(False, f"{state}: {name}; {HOST_REMEDY}")
    if len(others) > MAX_HOSTS_NAMED:
        yield ReportLine(False, f"and {len(others) - MAX_HOSTS_NAMED} more hosts are not live")


def check_versions(hosts: Mapping[str, Mapping[str, Any]], version: str) -> Iterator[ReportLine]:
    """One line for each version of live collectors that differs from the broker's `version`.

    Versions come from collectors and are printed on a terminal: they are cleaned first.
    """
    others: dict[str, list[str]] = {}
    for name, host in hosts.items():
        other = host.get("collector", {}).get("version", version)
        if host["state"] == LIVE and other != version:
            others.setdefault(clean(other, MAX_VERSION), []).append(name)
    yield from warnings(
        "versions",
        (
            f"the broker is {version}, the collector {other} on {listed(names, MAX_HOSTS_NAMED)}"
            for other, names in sorted(others.items())
        ),
    )


def check_port(role: str, address: str, port: int, key: str) -> ReportLine:
    """Whether a role that does not run here could bind its port."""
    reason = probe.why_not_bindable(address, port)
    if reason:
        text = f"{role}: {key} {port} cannot be used ({reason}); write another {key}"
        return ReportLine(False, text)
    return ReportLine(True, f"{role}: not running here; {key} {port} is free")


def _check_document(document: Mapping[str, Any], updates: str, part: str) -> Iterator[ReportLine]:
    totals = document["totals"]
    live = f"{totals['hosts_live']} of {totals['hosts']} hosts live"
    yield ReportLine(True, f"broker: receiving from {updates}, {live}")
    if part == "broker":
        yield from check_states(document["hosts"])
        yield from check_versions(document["hosts"], document["broker"]["version"])


def _receive_document(around: Surroundings) -> tuple[dict[str, Any] | None, str]:
    """The broker's document, or None and the reason of its refusal, if it gave one."""
    config, patience = around.config, around.patience_seconds
    port = config.updates_port
    if not port or not probe.accepts(around.broker_addresses, port, patience):
        return None, ""
    lock = _lock(config, "--web ")
    if lock is None:
        return None, ""
    document = probe.receive_document(role_settings.updates_endpoint(config), lock, patience)
    return document, "" if document is not None else lock.why()


def _check_rpc(around: Surroundings) -> ReportLine:
    """Whether this machine may report to a broker elsewhere that it cannot subscribe to."""
    config = around.config
    rpc = f"{config.broker}:{config.rpc_port}"
    if not probe.accepts(around.broker_addresses, config.rpc_port, around.patience_seconds):
        remedy = "start gpu-monitor broker there, and check its rpc_bind and firewalls"
        return ReportLine(False, f"broker: {rpc} does not answer; {remedy}")
    lock = _lock(config)
    refusal: str | None = ""
    if lock is not None:
        endpoint = role_settings.rpc_endpoint(config)
        refusal = probe.push_refusal(endpoint, lock, around.patience_seconds)
    if refusal is None:
        refusal = "it does not answer like a broker; check rpc_port"
    if "gpu-monitor keys add" in refusal:
        refusal += " (with --web, if it is a web server)"
    if refusal:
        return ReportLine(False, f"broker: {rpc} refuses reports from this machine: {refusal}")
    return ReportLine(True, f"broker: {rpc} accepts connections from this machine")


def _lock(config: Config, kind: str = "") -> Lock | None:
    """None if the keys cannot be used; `check_keys` has reported that."""
    try:
        name = config.name or role_settings.own_name()
        return Lock(config.keys, f"gpu-monitor keys add {kind}{name}")
    except KeysError:
        return None
