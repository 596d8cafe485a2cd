"""Roles started in order, stopped by a signal, and named when they cannot start."""

import asyncio
import errno
import os
import signal
import threading

import pytest
import zmq

from gpu_monitor.run.serve import CannotBind, Listen, Ready, Role, RoleEnded, run_roles, words_for

WEB = Listen("127.0.0.1", 8042, "web_bind", "web_port")
RPC = Listen("*", 8043, "rpc_bind", "rpc_port")
UPDATES = Listen("127.0.0.1", 8044, "updates_bind", "updates_port")


def role(name: str, happened: list[str], then: BaseException | None = None) -> Role:
    """Serves until it is cancelled; with `then` it ends so as soon as it is up."""

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
    """Sends this process SIGTERM as soon as it is up."""

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


def test_the_worker_starts_last_and_is_told_to_stop() -> None:
    happened: list[str] = []

    def work(stop: threading.Event) -> None:
        happened.append("worker up")
        stop_soon()
        assert stop.wait(60)
        happened.append("worker down")

    run_roles([role("first", happened)], work, others_seconds=60.0)  # outlasts a busy machine
    assert happened == ["first up", "worker up", "worker down", "first down"]


@pytest.mark.parametrize("end", [ValueError("broken"), SystemExit(5)])
def test_what_a_role_raises_ends_the_house(end: BaseException) -> None:
    happened: list[str] = []
    with pytest.raises(type(end)):
        run_roles([role("first", happened), role("second", happened, then=end)])
    assert happened[-1] == "first down"


def test_what_the_worker_raises_ends_the_house() -> None:
    def work(stop: threading.Event) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_roles([role("first", [])], work)


def test_a_worker_that_just_ends_is_an_error() -> None:
    with pytest.raises(RoleEnded, match="collector has ended by itself"):
        run_roles([role("first", [])], lambda stop: None)


def test_a_role_that_just_ends_is_an_error_also_while_another_starts() -> None:
    async def end(ready: Ready) -> None:
        ready()

    async def never_ready(ready: Ready) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RoleEnded, match="first has ended by itself"):
        run_roles([Role("first", end, (WEB,)), Role("second", never_ready, (WEB,))])


def test_a_worker_that_does_not_stop_is_left_behind() -> None:
    release = threading.Event()

    def hang(stop: threading.Event) -> None:
        stop_soon()
        release.wait(60)

    run_roles([role("first", [])], hang)
    release.set()


def test_a_role_that_cannot_bind_is_told_from_one_that_fails_later() -> None:
    async def refuse(ready: Ready) -> None:
        raise OSError(errno.EADDRINUSE, "address already in use")

    with pytest.raises(CannotBind, match=r"web: 127\.0\.0\.1:8042 is taken"):
        run_roles([Role("web", refuse, (WEB,))])
    with pytest.raises(OSError, match="later"):
        run_roles([role("web", [], then=OSError(errno.EADDRINUSE, "later"))])


def test_a_taken_port_is_named_with_its_key_and_a_remedy() -> None:
    error = zmq.ZMQError(errno.EADDRINUSE, "Address already in use (addr='tcp://*:8043')")
    words = words_for(error, Role("broker", role("", []).start, (RPC, UPDATES)))
    assert words == "broker: *:8043 is taken; stop what listens there, or write another rpc_port"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EADDRNOTAVAIL, "is no address of this machine; write another updates_bind"),
        (errno.ENODEV, "is no address of this machine; write another updates_bind"),
        (errno.EACCES, "is not allowed to this user; write for updates_port one over 1023"),
    ],
)
def test_another_reason_names_the_key_that_helps(number: int, remedy: str) -> None:
    error = zmq.ZMQError(number, "no (addr='tcp://127.0.0.1:8044')")
    words = words_for(error, Role("broker", role("", []).start, (RPC, UPDATES)))
    assert words == f"broker: 127.0.0.1:8044 {remedy}"


def test_an_error_that_names_no_port_names_all_keys() -> None:
    words = words_for(OSError(errno.ENFILE, "none"), Role("b", role("", []).start, (RPC, UPDATES)))
    assert "*:8043 or 127.0.0.1:8044" in words
    assert "see rpc_port or updates_port in config.yml" in words
