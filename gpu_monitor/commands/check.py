"""`gpu-monitor check`: looks for what would keep this machine's part from working."""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_monitor.broker.host_record import LIVE
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.nvml_errors import CLOSED, NvmlError
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.host import containers
from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.commands import check_keys, probe
from gpu_monitor.commands.probe import PATIENCE_SECONDS
from gpu_monitor.config import role_settings
from gpu_monitor.config.keys import Config
from gpu_monitor.web.auth import accounts
from gpu_monitor.web.auth.allowed_hosts import own_names
from gpu_monitor.web.auth.hashing import kind_of
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.curve.keys import KeysError

PCI_DEVICES = Path("/sys/bus/pci/devices")
MAX_NAMED = 50
MAX_VERSION = 40
ADDRESS_REMEDY = "add it to DNS or /etc/hosts, or write its address"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; a failed one holds what to do about it. A warning is none."""

    good: bool
    words: str
    is_warning: bool = False

    def __str__(self) -> str:
        mark = "warn" if self.is_warning else "ok  " if self.good else "FAIL"
        return f"{mark} {self.words}"


def check(config: Config, source: str | None, part: str = "all") -> bool:
    """Prints one line per finding; whether all are good. `source` is the file that was read."""
    good = True
    for finding in findings(config, source, part):
        print(finding, flush=True)
        good = good and finding.good
    return good


def findings(config: Config, source: str | None, part: str = "all") -> Iterator[Finding]:
    """All findings about a part, in the order in which they are worth reading."""
    yield Finding(True, f"config: {source or 'no config.yml, so the defaults apply'}")
    if part == "config":
        return
    hears_hosts = part in ("all", "broker")
    addresses = probe.resolve({config.broker, *(config.hosts if hears_hosts else ())})
    if hears_hosts and not config.keys:  # with keys a host is let in wherever it is
        yield from _check_hosts(config, addresses)
    if not addresses[config.broker]:
        yield Finding(False, f"broker: {config.broker} has no address here; {ADDRESS_REMEDY}")
    if part in ("all", "collector"):
        yield _check_gpus()
        yield from _check_containers(config.container_socket)
    if config.keys:
        here = probe.is_own(addresses[config.broker])
        for good, words in check_keys.findings(config, here):
            yield Finding(good, f"keys: {words}")
    yield from _check_broker(config, addresses[config.broker], part)
    if part in ("all", "web"):
        yield _check_page(config)
        if config.sign_in in ("none", "proxy"):
            yield _names_of_page(config)
        yield from _check_sign_in(config)


def _check_hosts(config: Config, addresses: dict[str, list[str]]) -> Iterator[Finding]:
    for name in config.hosts:
        if not addresses[name]:
            yield Finding(False, f"hosts: {name} has no address here; {ADDRESS_REMEDY}")
    known = sum(bool(addresses[name]) for name in config.hosts)
    if known:
        yield Finding(True, f"hosts: {known} of {len(config.hosts)} have an address")
    if not config.hosts:
        yield Finding(True, "hosts: none named, so only this machine may report")


def _check_gpus() -> Finding:
    """What NVML says; no driver is only wrong where there is a GPU for it."""
    answers: list[Finding] = []
    # A daemon: a call that hangs in the driver cannot be interrupted.
    thread = threading.Thread(target=lambda: answers.append(_ask_nvml()), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    if answers:
        return answers[0]
    return Finding(False, "gpus: the NVIDIA driver hangs; look at dmesg, a reboot may be needed")


def _ask_nvml() -> Finding:
    try:
        trace = Trace()
        nvml.open_library(trace)
        count, (driver, _) = nvml.device_count(trace), nvml.versions(trace)
        nvml.close_library(trace)
    except NvmlError as error:
        if error.code in CLOSED and not probe.has_nvidia_hardware(PCI_DEVICES):
            return Finding(True, "gpus: none of NVIDIA in this machine; the page shows the rest")
        return Finding(False, f"gpus: {error}")
    return Finding(True, f"gpus: {count} found, driver {driver}")


def _check_containers(path: str) -> Iterator[Finding]:
    if not path:
        return
    try:
        found = containers.running_containers(path)
    except (OSError, ValueError) as error:
        why = containers.failure_words(error)
        yield Finding(False, f"containers: {path}: {why}; check its permissions")
        return
    yield Finding(True, f"containers: {len(found)} run now, named by {path}")


def _check_broker(config: Config, addresses: Sequence[str], part: str) -> Iterator[Finding]:
    if not addresses:
        return
    here = probe.is_own(addresses)
    if here and role_settings.hears_none_of_them(config):
        remedy = "remove rpc_bind, or write an address that they reach"
        yield Finding(False, f"broker: rpc_bind {config.rpc_bind} keeps hosts out; {remedy}")
    if here and part in ("all", "broker"):
        yield from _warnings("broker", role_settings.link_warnings(config))
    where = f"{config.broker}:{config.rpc_port}"
    fleet, why = _hear_broker(config, addresses)
    if fleet is not None:
        totals = fleet["totals"]
        live = f"{totals['hosts_live']} of {totals['hosts']} hosts live"
        yield Finding(True, f"broker: {config.broker}:{config.updates_port} is heard, {live}")
        if part == "broker":
            yield from check_states(fleet["hosts"])
            yield from check_versions(fleet["hosts"], fleet["broker"]["version"])
    elif why and (here or part == "web"):
        yield Finding(False, f"broker: {config.broker}:{config.updates_port} is not heard: {why}")
    elif part == "broker" or (part == "web" and not here):
        where = f"{config.broker}:{config.updates_port}"
        remedy = "start gpu-monitor broker there, and look at its updates_bind and at firewalls"
        yield Finding(False, f"broker: {where} is not heard; {remedy}")
    elif here:
        rpc = role_settings.rpc_address(config)
        yield _check_port("broker", rpc, config.rpc_port, "rpc_port")
        yield _check_port("broker", config.updates_bind, config.updates_port, "updates_port")
    elif probe.accepts(addresses, config.rpc_port):
        yield _check_link(config, where)
    else:
        remedy = "start gpu-monitor broker there, and look at its rpc_bind and at firewalls"
        yield Finding(False, f"broker: {where} does not answer; {remedy}")


def check_states(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """A line for each host that is not live, and one for those that are."""
    live = [name for name, host in hosts.items() if host["state"] == LIVE]
    others = [(name, host["state"]) for name, host in hosts.items() if host["state"] != LIVE]
    if live:
        yield Finding(True, f"live: {_listed(live)}")
    for name, state in others[:MAX_NAMED]:
        remedy = "see there: systemctl status gpu-monitor-collector; gpu-monitor check collector"
        yield Finding(False, f"{state}: {name}; {remedy}")
    if len(others) > MAX_NAMED:
        yield Finding(False, f"and {len(others) - MAX_NAMED} more hosts are not live")


def check_versions(hosts: Mapping[str, Mapping[str, Any]], version: str) -> Iterator[Finding]:
    """A line for each version of collectors that is not the broker's, of hosts that are live.

    A version is a text of the collector's, and this goes to a terminal.
    """
    others: dict[str, list[str]] = {}
    for name, host in hosts.items():
        other = host.get("collector", {}).get("version", version)
        if host["state"] == LIVE and other != version:
            others.setdefault(clean(other, MAX_VERSION), []).append(name)
    for other, names in sorted(others.items()):
        words = f"versions: the broker is {version}, the collector {other} on {_listed(names)}"
        yield Finding(True, words, is_warning=True)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _hear_broker(config: Config, addresses: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """The broker's picture, or why it is refused."""
    if not config.updates_port or not probe.accepts(addresses, config.updates_port):
        return None, ""
    lock = _lock(config, "--web ")
    if lock is None:
        return None, ""
    fleet = probe.hear_broker(role_settings.updates_endpoint(config), lock)
    return fleet, "" if fleet is not None else lock.why()


def _check_link(config: Config, where: str) -> Finding:
    """Whether this machine may report, where it may not listen."""
    lock = _lock(config)
    why = probe.knock(role_settings.rpc_endpoint(config), lock) if lock is not None else ""
    if why is None:
        why = "it does not answer as a broker does; look at rpc_port"
    if why and "gpu-monitor keys add" in why:
        why += " (with --web, if it is a web server)"
    if why:
        return Finding(False, f"broker: {where} does not take what this machine reports: {why}")
    return Finding(True, f"broker: {where} takes connections from here")


def _lock(config: Config, kind: str = "") -> Lock | None:
    """None where the keys cannot be used, which has been said then."""
    try:
        name = config.name or role_settings.own_name()
        return Lock(config.keys, f"gpu-monitor keys add {kind}{name}")
    except KeysError:
        return None


def _check_port(role: str, address: str, port: int, key: str) -> Finding:
    reason = probe.why_taken(address, port)
    if reason:
        return Finding(
            False, f"{role}: {key} {port} cannot be used ({reason}); write another {key}"
        )
    return Finding(True, f"{role}: not running here; {key} {port} is free for it")


def _check_sign_in(config: Config) -> Iterator[Finding]:
    yield from _warnings("web", role_settings.page_warnings(config))
    if config.sign_in == "none":
        yield Finding(True, f"sign_in: none, everybody sees {config.viewer_role}")
        return
    if not config.viewers:
        words = f"proxy, whoever it names sees {config.viewer_role}"
        yield Finding(True, f"sign_in: {words}")
        return
    others = role_settings.names_another_machine((config.broker, *config.hosts))
    if others and not os.path.exists(config.viewers):
        words = f"{config.viewers} is not here, and needed only where the page is served"
        yield Finding(True, f"sign_in: {config.sign_in}; {words}")
        return
    try:
        people, wrong = accounts.parse(accounts.read(config.viewers))
    except accounts.AccountsError as error:
        yield Finding(False, f"viewers: {error}")
        return
    for words in wrong:
        yield Finding(False, f"viewers: {config.viewers}: {words}")
    needed = {"token": "token", "basic": "password"}.get(config.sign_in)
    able = [p for p in people if needed is None or kind_of(p.secret) == needed]
    unable = sorted({person.name for person in people} - {person.name for person in able})
    if unable:
        names = ", ".join(unable[:5]) + (", ..." if len(unable) > 5 else "")
        yield Finding(False, f"viewers: no {needed} of {names}; remove and add them again")
    remedy = "" if able else "; gpu-monitor viewers add NAME"
    yield Finding(bool(able), f"sign_in: {config.sign_in}, {len(able)} may sign in{remedy}")


def _warnings(about: str, warnings: Iterable[str]) -> Iterator[Finding]:
    for words in warnings:
        yield Finding(True, f"{about}: {words}", is_warning=True)


def _names_of_page(config: Config) -> Finding:
    known = {*own_names(), probe.full_name(), *role_settings.web_hosts(config)}
    words = f"addresses and to {', '.join(sorted(known))}"
    return Finding(True, f"web: answers to {words}; any other name belongs under web_hosts")


def _check_page(config: Config) -> Finding:
    address = "127.0.0.1" if config.web_bind in ("*", "0.0.0.0") else config.web_bind
    is_taken = probe.why_taken(config.web_bind, config.web_port)
    if is_taken and probe.is_our_page(address, config.web_port):
        return Finding(True, f"web: the page is served at port {config.web_port}")
    return _check_port("web", config.web_bind, config.web_port, "web_port")
