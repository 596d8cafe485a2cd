"""The roles that each command runs; a role is imported only where it runs."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gpu_monitor.config import role_settings
from gpu_monitor.config.keys import Config
from gpu_monitor.run.systemd import ServiceManager

if TYPE_CHECKING:
    from typing import TypeAlias

    import zmq

    from gpu_monitor.broker.main import Recall
    from gpu_monitor.broker.settings import BrokerSettings
    from gpu_monitor.run.serve import Role
    from gpu_monitor.web.settings import WebSettings

    Context: TypeAlias = zmq.Context[zmq.Socket[bytes]]

log = logging.getLogger(__name__)


def up(config: Config) -> None:
    """Run collector, broker and web server in one process."""
    from gpu_monitor.collector import main as collector_main
    from gpu_monitor.run.serve import run_roles

    _warn([*role_settings.link_warnings(config), *role_settings.page_warnings(config)])
    role_settings.check_viewers(config)
    collector_settings = role_settings.collector_settings(config, role_settings.RPC_INPROC)
    with _context() as context:
        roles = [
            broker_role(config, role_settings.broker_settings(config, one_process=True), context),
            web_role(
                config, role_settings.web_settings(config, role_settings.UPDATES_INPROC), context
            ),
        ]
        run_roles(roles, lambda stop: collector_main.run(collector_settings, stop, context))


def collector(config: Config) -> None:
    """Run a collector; imports neither asyncio nor the other roles."""
    from gpu_monitor.collector import main as collector_main

    stop = threading.Event()
    manager = ServiceManager(pause_seconds=config.interval)

    def end() -> None:
        manager.report_stopping()
        stop.set()

    def leave(*_: object) -> None:
        # In a thread: the handler may interrupt stop.wait() while it holds the event's lock.
        threading.Thread(target=end, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    collector_main.run(role_settings.collector_settings(config), stop, alive=manager.report_alive)


def broker(config: Config) -> None:
    """Run a broker."""
    from gpu_monitor.run.serve import run_roles

    _warn(role_settings.link_warnings(config))
    run_roles([broker_role(config, role_settings.broker_settings(config))])


def web(config: Config) -> None:
    """Run a web server."""
    from gpu_monitor.run.serve import run_roles

    _warn(role_settings.page_warnings(config))
    role_settings.check_viewers(config)
    run_roles([web_role(config, role_settings.web_settings(config))])


def demo(config: Config, hosts: int, gpus: int) -> None:
    """Run a simulated fleet; only the port of the page is opened."""
    from gpu_monitor.demo.fleet import build_fleet, demo_settings, push_fleet
    from gpu_monitor.demo.past import Past
    from gpu_monitor.run.serve import run_roles

    _warn(role_settings.page_warnings(config))
    role_settings.check_viewers(config)
    now = time.time()
    fleet = build_fleet(hosts, gpus, now)
    past = Past(fleet, now)
    with _context() as context:
        roles = [
            broker_role(config, demo_settings(config), context, past.fill_gaps),
            web_role(
                config, role_settings.web_settings(config, role_settings.UPDATES_INPROC), context
            ),
        ]
        run_roles(roles, lambda stop: push_fleet(fleet, config.interval, stop, context))


def broker_role(
    config: Config,
    broker_settings: "BrokerSettings",
    context: "Context | None" = None,
    recall: "Recall | None" = None,
) -> "Role":
    """A broker and its ports; `recall` fills in the last hour of a demo."""
    from gpu_monitor.broker import main as broker_main
    from gpu_monitor.run.serve import Listen, Role

    listens: list[Listen] = []
    if any(endpoint.startswith("tcp:") for endpoint in broker_settings.rpc_endpoints):
        rpc = role_settings.rpc_address(config)
        listens = [
            Listen(rpc, config.rpc_port, "rpc_bind", "rpc_port"),
            Listen(config.updates_bind, config.updates_port, "updates_bind", "updates_port"),
        ]
    return Role(
        "broker",
        lambda ready: broker_main.run(broker_settings, ready, context, recall),
        tuple(listens),
    )


def web_role(
    config: Config, web_settings: "WebSettings", context: "Context | None" = None
) -> "Role":
    """A web server and its port."""
    from gpu_monitor.run.serve import Listen, Role
    from gpu_monitor.web import main as web_main

    listen = Listen(config.web_bind, config.web_port, "web_bind", "web_port")
    return Role("web", lambda ready: web_main.run(web_settings, ready, context), (listen,))


@contextlib.contextmanager
def _context() -> "Iterator[Context]":
    """A context for all roles of this process: they share its inproc endpoints."""
    import zmq

    context = zmq.Context()
    try:
        yield context
    finally:
        context.destroy(linger=0)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        log.warning("%s", warning)
