"""Runs roles until a signal comes, and says what keeps one from starting."""

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

from gpu_monitor.run.systemd import Notify

logger = logging.getLogger(__name__)

OTHERS_SECONDS, LAST_SECONDS = 1.3, 0.4
"""What does not end within this is left behind: an orderly stop takes at most 2 s."""

Ready: TypeAlias = Callable[..., None]
"""Called by a role once it is bound; a web server hands its URL over."""
Worker: TypeAlias = Callable[[threading.Event], None]
"""A role without an event loop: works until the event is set."""
Running: TypeAlias = "dict[str, asyncio.Future[Any]]"
"""What runs, by name. `signal` is done when the process is to stop, the others never are."""

_CANNOT_BIND = {
    errno.EADDRINUSE: "is taken; stop what listens there, or write another {port_key}",
    errno.EADDRNOTAVAIL: "is no address of this machine; write another {bind_key}",
    errno.ENODEV: "is no address of this machine; write another {bind_key}",
    errno.EAFNOSUPPORT: "is a kind of address this machine lacks; write another {bind_key}",
    errno.EACCES: "is not allowed to this user; write for {port_key} one over 1023",
    errno.EPERM: "is not allowed to this user; write for {port_key} one over 1023",
}


class CannotBind(Exception):
    """A socket could not be bound; the words name address, port, key and remedy."""


class RoleEnded(Exception):
    """What should run until it is stopped has ended by itself."""


@dataclass(frozen=True)
class Listen:
    """Where a role listens, and the keys of config.yml that say so."""

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
    notify = Notify()
    with _signals() as stopped:
        running: Running = {"signal": asyncio.ensure_future(stopped.wait())}
        stop = threading.Event()
        try:
            for role in roles:
                await _start(role, running)
            if worker is not None and not stopped.is_set():
                running["collector"] = _start_thread(worker, stop)
            if not stopped.is_set():
                running["beat"] = asyncio.create_task(_beat(notify))
            await _until_stopped(running)
        finally:
            notify.stopping()
            stop.set()
            await _stop(running, roles[0].name, others_seconds)


async def _stop(running: Running, last: str, others_seconds: float) -> None:
    """Ends everything; `last`, which the others are connected to, only after them.

    libzmq aborts the process when it ends a context in which a socket that keeps only the
    newest message (CONFLATE) is still to be connected to an inproc endpoint.
    """
    others = [future for name, future in running.items() if name != last]
    the_last = [running[last]] if last in running else []
    for futures, patience in ((others, others_seconds), (the_last, LAST_SECONDS)):
        for future in futures:
            if isinstance(future, asyncio.Task):  # the worker has its event instead
                future.cancel()
        if futures:
            await asyncio.wait(futures, timeout=patience)


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set.

    The handlers are set by hand: a background shell starts its children with SIGINT ignored,
    which asyncio.run would leave as it is.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    yield stopped


async def _start(role: Role, running: Running) -> None:
    """Returns once the role is bound or a signal came; CannotBind when it cannot bind."""
    if running["signal"].done():
        return
    ready = asyncio.Event()

    def say(url: str = "") -> None:
        if url:
            print(f"GPU Monitor: {url}", flush=True)
        ready.set()

    task = running[role.name] = asyncio.create_task(role.start(say), name=role.name)
    up = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([up, *running.values()], return_when=asyncio.FIRST_COMPLETED)
    finally:
        up.cancel()
    if task.done() and not ready.is_set():
        error = task.exception()
        if isinstance(error, OSError | zmq.ZMQError):
            raise CannotBind(words_for(error, role)) from error
    _look_for_ended(running)
    if ready.is_set():
        where = ", ".join(
            f"{listen.address}:{listen.port or 'any free port'}" for listen in role.listens
        )
        logger.info("%s listens on %s", role.name, where or "nothing outside this process")


async def _beat(notify: Notify) -> None:
    """Says that the roles are up, then that the loop they share goes round."""
    notify.alive()
    while notify.beat_seconds is not None:
        await asyncio.sleep(notify.beat_seconds)
        notify.alive()
    await asyncio.Event().wait()


async def _until_stopped(running: Running) -> None:
    if not running["signal"].done():
        await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
    _look_for_ended(running)


def _look_for_ended(running: Running) -> None:
    for name, future in running.items():
        if future.done() and name != "signal":
            future.result()
            raise RoleEnded(f"{name} has ended by itself")


def _start_thread(worker: Worker, stop: threading.Event) -> "asyncio.Future[None]":
    """Starts the worker's thread; the future is done when the worker is.

    A daemon: a driver call that hangs must not hold up the end of the process.
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


def words_for(error: OSError | zmq.ZMQError, role: Role) -> str:
    """One line for a failed bind: which address and port, which key, and what to do."""
    blamed = [listen for listen in role.listens if str(listen.port) in str(error)] or role.listens
    where = " or ".join(f"{listen.address}:{listen.port}" for listen in blamed)
    port_key = " or ".join(listen.port_key for listen in blamed)
    bind_key = " or ".join(listen.bind_key for listen in blamed)
    # asyncio from 3.13 on leaves the number out where no address was this machine's (bpo-30945).
    remedy = _CANNOT_BIND.get(error.errno or errno.EADDRNOTAVAIL)
    if remedy is None:
        return f"{role.name}: cannot listen on {where}: {error}; see {port_key} in config.yml"
    return f"{role.name}: {where} {remedy.format(port_key=port_key, bind_key=bind_key)}"
