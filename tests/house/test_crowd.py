"""Strangers that only connect: the broker keeps its peers, and accepts new ones once they leave."""

import contextlib
import os
import resource
import socket

import pytest

from tests.support.house import House, eventually

CROWD = 80
"""Fewer than the listen backlog, so that no connection blocks."""
ROOM = 20


def limit_open_files(pid: int, more: int) -> None:
    """Let the process open this many more files, and no others."""
    limit = len(os.listdir(f"/proc/{pid}/fd")) + more
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))


def is_full(pid: int) -> bool:
    limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return len(os.listdir(f"/proc/{pid}/fd")) >= limit


@pytest.mark.parametrize("port", ["rpc_port", "updates_port"])
def test_connected_hosts_stay_live_while_strangers_use_up_all_descriptors(
    house: House, port: str
) -> None:
    house.start("broker")
    house.start("web")
    house.start("collector", title="first", name="node1")
    house.host("node1")
    broker = house.running["broker"].pid
    limit_open_files(broker, ROOM)
    with contextlib.ExitStack() as crowd:
        for _ in range(CROWD):
            address = ("127.0.0.1", getattr(house, port))
            crowd.enter_context(socket.create_connection(address))
        eventually(lambda: is_full(broker), "the broker to be full")
        heard_at = house.host("node1")["heard_at"]
        eventually(lambda: house.host("node1")["heard_at"] > heard_at, "news of node1")
        assert "stale" not in house.log("broker")
    house.start("collector", title="second", name="node2")
    house.host("node2")


def test_strangers_that_come_and_go_are_not_logged_one_by_one(house: House) -> None:
    house.start("broker")
    house.start("web")
    eventually(lambda: house.get("readyz"), "the web server to be ready")
    for _ in range(CROWD):
        socket.create_connection(("127.0.0.1", house.rpc_port)).close()
    house.start("collector", name="node1")
    house.host("node1")
    assert len(house.log("broker").splitlines()) < 5
