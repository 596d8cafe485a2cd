"""Roles start in order, stop by a signal, and are named if they cannot start."""

import asyncio
import errno
import os
import signal
import threading

import pytest
import zmq

from gpu_monitor.run.serve import (
    CannotBind,
    Listen,
    Ready,
    Role,
    RoleEnded,
    describe_bind_error,
    run_roles,
)

WEB = Listen("127.0.0.1", 8042, "web_bind", "web_port")
RPC = Listen("*", 8043, "rpc_bind", "rpc_port")
UPDATES = Listen("127.0.0.1", 8044, "updates_bind", "updates_port")


def role(name: str, happened: list[str], then: BaseException | None = None) -> Role:
    """A role that serves until it is cancelled, or raises `then` once it is up."""

    async def serve(ready: Ready) -> None:
        happened.append(f"{name} up")
        ready()
        try:
            if then is not None:
                raise then
            await asyncio.Event().wait()
        finally:
            happened.append(f"{name} down")

    return Role(name, serve, (WEB,))


def stop_soon() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def last_role(happened: list[str]) -> Role:
    """A role that sends this process SIGTERM once it is up."""

    async def serve(ready: Ready) -> None:
        happened.append("last up")
        ready("http://127.0.0.1:8042/")
        stop_soon()
        await asyncio.Event().wait()

    return Role("last", serve, (WEB,))


def test_roles_start_in_order_and_a_signal_stops_them_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    happened: list[str] = []
    run_roles([role("first", happened), last_role(happened)])
    assert happened == ["first up", "last up", "first down"]
    assert capsys.readouterr().out == "GPU Monitor: http://127.0.0.1:8042/\n"


def test_the_worker_starts_last_and_is_asked_to_stop() -> None:
    happened: list[str] = []

    def work(stop: threading.Event) -> None:
        happened.append("worker up")
        stop_soon()
        assert stop.wait(60)
        happened.append("worker down")

    run_roles([role("first", happened)], work, others_seconds=60.0)  # outlasts a busy machine
    assert happened == ["first up", "worker up", "worker down", "first down"]


@pytest.mark.parametrize("end", [ValueError("broken"), SystemExit(5)])
def test_an_exception_of_a_role_stops_all_roles(end: BaseException) -> None:
    happened: list[str] = []
    with pytest.raises(type(end)):
        run_roles([role("first", happened), role("second", happened, then=end)])
    assert happened[-1] == "first down"


def test_an_exception_of_the_worker_stops_all_roles() -> None:
    def work(stop: threading.Event) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_roles([role("first", [])], work)


def test_a_worker_that_ends_by_itself_is_an_error() -> None:
    with pytest.raises(RoleEnded, match="collector ended unexpectedly"):
        run_roles([role("first", [])], lambda stop: None)


def test_a_role_that_ends_while_another_starts_is_an_error() -> None:
    async def end(ready: Ready) -> None:
        ready()

    async def never_ready(ready: Ready) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RoleEnded, match="first ended unexpectedly"):
        run_roles([Role("first", end, (WEB,)), Role("second", never_ready, (WEB,))])


def test_a_worker_that_does_not_stop_is_abandoned() -> None:
    release = threading.Event()

    def hang(stop: threading.Event) -> None:
        stop_soon()
        release.wait(60)

    run_roles([role("first", [])], hang)
    release.set()


def test_a_failed_bind_differs_from_a_later_failure() -> None:
    async def refuse(ready: Ready) -> None:
        raise OSError(errno.EADDRINUSE, "address already in use")

    with pytest.raises(CannotBind, match=r"web: 127\.0\.0\.1:8042 is in use"):
        run_roles([Role("web", refuse, (WEB,))])
    with pytest.raises(OSError, match="later"):
        run_roles([role("web", [], then=OSError(errno.EADDRINUSE, "later"))])


def test_a_port_in_use_is_named_with_its_key_and_a_remedy() -> None:
    error = zmq.ZMQError(errno.EADDRINUSE, "Address already in use (addr='tcp://*:8043')")
    text = describe_bind_error(error, Role("broker", role("", []).start, (RPC, UPDATES)))
    assert text == "broker: *:8043 is in use; stop what listens there, or write another rpc_port"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EADDRNOTAVAIL, "is not an address of this machine; write another updates_bind"),
        (errno.ENODEV, "is not an address of this machine; write another updates_bind"),
        (errno.EACCES, "is not allowed for this user; set updates_port above 1023"),
    ],
)
def test_each_reason_names_the_key_to_change(number: int, remedy: str) -> None:
    error = zmq.ZMQError(number, "no (addr='tcp://127.0.0.1:8044')")
    text = describe_bind_error(error, Role("broker", role("", []).start, (RPC, UPDATES)))
    assert text == f"broker: 127.0.0.1:8044 {remedy}"


def test_an_error_without_a_port_names_all_keys() -> None:
    text = describe_bind_error(
        OSError(errno.ENFILE, "none"), Role("b", role("", []).start, (RPC, UPDATES))
    )
    assert "*:8043 or 127.0.0.1:8044" in text
    assert "see rpc_port or updates_port in config.yml" in text
