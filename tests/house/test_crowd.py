"""Strangers who only connect: the broker keeps those it has, and has room again when they go."""

import contextlib
import os
import resource
import socket

import pytest

from tests.support.house import House, eventually

CROWD = 80
"""Less than may wait to be accepted: a connection beyond that would wait for its turn."""
ROOM = 20


def room_for(pid: int, more: int) -> None:
    """From now on the process may open so many files more."""
    limit = len(os.listdir(f"/proc/{pid}/fd")) + more
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))


def is_full(pid: int) -> bool:
    limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return len(os.listdir(f"/proc/{pid}/fd")) >= limit


@pytest.mark.parametrize("port", ["rpc_port", "updates_port"])
def test_who_is_in_stays_live_while_strangers_take_all_descriptors(house: House, port: str) -> None:
    house.start("broker")
    house.start("web")
    house.start("collector", title="first", name="node1")
    house.host("node1")
    broker = house.running["broker"].pid
    room_for(broker, ROOM)
    with contextlib.ExitStack() as crowd:
        for _ in range(CROWD):
            address = ("127.0.0.1", getattr(house, port))
            crowd.enter_context(socket.create_connection(address))
        eventually(lambda: is_full(broker), "the broker to be full")
        heard_at = house.host("node1")["heard_at"]
        eventually(lambda: house.host("node1")["heard_at"] > heard_at, "node1 to be heard")
        assert "stale" not in house.log("broker")
    house.start("collector", title="second", name="node2")
    house.host("node2")


def test_strangers_that_come_and_go_leave_no_line_each(house: House) -> None:
    house.start("broker")
    house.start("web")
    eventually(lambda: house.get("readyz"), "the broker to be heard")
    for _ in range(CROWD):
        socket.create_connection(("127.0.0.1", house.rpc_port)).close()
    house.start("collector", name="node1")
    house.host("node1")
    assert len(house.log("broker").splitlines()) < 5
