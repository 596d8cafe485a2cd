"""Run roles until a signal arrives; a failed start names port, key and remedy."""

import asyncio
import concurrent.futures
import contextlib
import errno
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import zmq

from gpu_monitor.run.systemd import ServiceManager

log = logging.getLogger(__name__)

OTHERS_SECONDS, LAST_SECONDS = 1.3, 0.4
"""How long roles get to end, the first role last; then they are abandoned. At most 2 s in all."""

Ready: TypeAlias = Callable[..., None]
"""Called by a role once it is bound; a web server passes its URL."""
Worker: TypeAlias = Callable[[threading.Event], None]
"""A role without an event loop: runs until the event is set."""
Running: TypeAlias = "dict[str, asyncio.Future[Any]]"
"""What runs, by name. Only `signal` ever completes by itself: when the process is to stop."""

_CANNOT_BIND = {
    errno.EADDRINUSE: "is in use; stop what listens there, or write another {port_key}",
    errno.EADDRNOTAVAIL: "is not an address of this machine; write another {bind_key}",
    errno.ENODEV: "is not an address of this machine; write another {bind_key}",
    errno.EAFNOSUPPORT: "is of a kind that this machine does not support; write another {bind_key}",
    errno.EACCES: "is not allowed for this user; set {port_key} above 1023",
    errno.EPERM: "is not allowed for this user; set {port_key} above 1023",
}


class CannotBind(Exception):
    """A socket could not be bound; the message names address, port, key and remedy."""


class RoleEnded(Exception):
    """A role ended without being stopped."""


@dataclass(frozen=True)
class Listen:
    """An address that a role listens on, and the keys of config.yml that set it."""

    address: str
    port: int
    bind_key: str
    port_key: str


@dataclass(frozen=True)
class Role:
    """A coroutine that serves until it is cancelled."""

    name: str
    start: Callable[[Ready], Coroutine[Any, Any, None]]
    listens: tuple[Listen, ...]


def run_roles(
    roles: list[Role], worker: Worker | None = None, others_seconds: float = OTHERS_SECONDS
) -> None:
    """Start the roles in order, each once the previous one is bound, then the worker.

    On a stop, everything but the first role gets `others_seconds` to end. Returns after SIGINT or
    SIGTERM. Raises CannotBind, RoleEnded, or what a role raised.
    """
    asyncio.run(_run(roles, worker, others_seconds))


async def _run(roles: list[Role], worker: Worker | None, others_seconds: float) -> None:
    manager = ServiceManager()
    with _signals() as stopped:
        running: Running = {"signal": asyncio.ensure_future(stopped.wait())}
        stop = threading.Event()
        try:
            for role in roles:
                await _start(role, running)
            if worker is not None and not stopped.is_set():
                running["collector"] = _start_thread(worker, stop)
            if not stopped.is_set():
                running["heartbeat"] = asyncio.create_task(_send_heartbeats(manager))
            await _until_stopped(running)
        finally:
            manager.report_stopping()
            stop.set()
            await _stop(running, roles[0].name, others_seconds)


async def _stop(running: Running, last: str, others_seconds: float) -> None:
    """End all others first, then `last`, to which they are connected.

    libzmq aborts the process if a context ends while a socket with CONFLATE still has to connect
    to an inproc endpoint.
    """
    others = [future for name, future in running.items() if name != last]
    the_last = [running[last]] if last in running else []
    for futures, patience in ((others, others_seconds), (the_last, LAST_SECONDS)):
        for future in futures:
            if isinstance(future, asyncio.Task):  # the worker stops by its event
                future.cancel()
        if futures:
            await asyncio.wait(futures, timeout=patience)


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set.

    Background shells start their children with SIGINT ignored, and asyncio.run would leave it so.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    yield stopped


async def _start(role: Role, running: Running) -> None:
    """Return once the role is bound or a signal arrived; raise CannotBind if it cannot bind."""
    if running["signal"].done():
        return
    ready = asyncio.Event()

    def report_ready(url: str = "") -> None:
        if url:
            print(f"GPU Monitor: {url}", flush=True)
        ready.set()

    task = running[role.name] = asyncio.create_task(role.start(report_ready), name=role.name)
    up = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([up, *running.values()], return_when=asyncio.FIRST_COMPLETED)
    finally:
        up.cancel()
    if task.done() and not ready.is_set():
        error = task.exception()
        if isinstance(error, OSError | zmq.ZMQError):
            raise CannotBind(describe_bind_error(error, role)) from error
    _raise_if_ended(running)
    if ready.is_set():
        where = ", ".join(
            f"{listen.address}:{listen.port or 'any free port'}" for listen in role.listens
        )
        log.info("%s listens on %s", role.name, where or "nothing outside this process")


async def _send_heartbeats(manager: ServiceManager) -> None:
    """Notify systemd that the roles are up, then regularly that their event loop is alive."""
    manager.report_alive()
    while manager.heartbeat_seconds is not None:
        await asyncio.sleep(manager.heartbeat_seconds)
        manager.report_alive()
    await asyncio.Event().wait()


async def _until_stopped(running: Running) -> None:
    if not running["signal"].done():
        await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    _raise_if_ended(running)


def _raise_if_ended(running: Running) -> None:
    for name, future in running.items():
        if future.done() and name != "signal":
            future.result()
            raise RoleEnded(f"{name} ended unexpectedly")


def _start_thread(worker: Worker, stop: threading.Event) -> "asyncio.Future[None]":
    """Start the worker in a thread; the future completes with it.

    A daemon thread: a hung driver call must not keep the process from ending.
    """
    outcome: concurrent.futures.Future[None] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()

    def work() -> None:
        try:
            worker(stop)
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    threading.Thread(target=work, name="collector", daemon=True).start()
    return asyncio.wrap_future(outcome)


def describe_bind_error(error: OSError | zmq.ZMQError, role: Role) -> str:
    """One line with address, port, the key of config.yml, and what to do."""
    blamed = [listen for listen in role.listens if str(listen.port) in str(error)] or role.listens
    where = " or ".join(f"{listen.address}:{listen.port}" for listen in blamed)
    port_key = " or ".join(listen.port_key for listen in blamed)
    bind_key = " or ".join(listen.bind_key for listen in blamed)
    # asyncio since 3.13 sets no errno if none of the addresses is local (bpo-30945).
    remedy = _CANNOT_BIND.get(error.errno or errno.EADDRNOTAVAIL)
    if remedy is None:
        return f"{role.name}: cannot listen on {where}: {error}; see {port_key} in config.yml"
    return f"{role.name}: {where} {remedy.format(port_key=port_key, bind_key=bind_key)}"
