"""`gpu-monitor check`: finds what would keep the parts of this machine from working."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from gpu_monitor.collector.host import containers
from gpu_monitor.commands import check_broker, check_gpus, check_keys, check_page, probe
from gpu_monitor.commands.probe import PROBE_SECONDS
from gpu_monitor.commands.report_line import ReportLine, Surroundings
from gpu_monitor.config.keys import Config

ADDRESS_REMEDY = "add it to DNS or /etc/hosts, or use its address"

IsOwn = Callable[[Iterable[str]], bool]


def check(
    config: Config,
    source: str | None,
    part: str = "all",
    patience_seconds: float = PROBE_SECONDS,
    is_own: IsOwn = probe.is_own,
) -> bool:
    """Print every line of `report_lines`; return whether none is a failure."""
    good = True
    for line in report_lines(config, source, part, patience_seconds, is_own):
        print(line, flush=True)
        good = good and line.good
    return good


def report_lines(
    config: Config,
    source: str | None,
    part: str = "all",
    patience_seconds: float = PROBE_SECONDS,
    is_own: IsOwn = probe.is_own,
) -> Iterator[ReportLine]:
    """All lines about a part, in the order in which they are worth reading.

    `source` is the file that `config` comes from. `is_own` is whether one of the broker's
    addresses belongs to this machine.
    """
    yield ReportLine(True, f"config: {source or 'no config.yml found, so the defaults apply'}")
    if part == "config":
        return
    hosts = config.hosts if part in ("all", "broker") else ()
    addresses = probe.resolve({config.broker, *hosts}, patience_seconds)
    broker = addresses[config.broker]
    around = Surroundings(config, part, broker, is_own(broker), patience_seconds)
    if around.covers("broker") and not config.keys:  # with keys, hosts may be at any address
        yield from _check_hosts(config, addresses)
    if not broker:
        yield ReportLine(False, f"broker: {config.broker} does not resolve; {ADDRESS_REMEDY}")
    if around.covers("collector"):
        yield from check_gpus.report_lines(patience_seconds, check_gpus.here())
        yield from _check_containers(config.container_socket)
    if config.keys:
        yield from check_keys.report_lines(config, around.is_broker_here)
    if broker:
        yield from check_broker.report_lines(around)
    if around.covers("web"):
        yield from check_page.report_lines(around)


def _check_hosts(config: Config, addresses: Mapping[str, list[str]]) -> Iterator[ReportLine]:
    for name in config.hosts:
        if not addresses[name]:
            yield ReportLine(False, f"hosts: {name} does not resolve; {ADDRESS_REMEDY}")
    resolved = sum(bool(addresses[name]) for name in config.hosts)
    if resolved:
        yield ReportLine(True, f"hosts: {resolved} of {len(config.hosts)} resolve")
    if not config.hosts:
        yield ReportLine(True, "hosts: none listed, so only this machine may report")


def _check_containers(path: str) -> Iterator[ReportLine]:
    if not path:
        return
    try:
        found = containers.running_containers(path)
    except (OSError, ValueError) as error:
        reason = containers.failure_words(error)
        yield ReportLine(False, f"containers: {path}: {reason}; check its permissions")
        return
    yield ReportLine(True, f"containers: {len(found)} running, with names from {path}")
