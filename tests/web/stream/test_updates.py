"""What viewers receive: the fleet, then each patch, in the encoding of their choice."""

import asyncio
from typing import Any

import pytest

from gpu_monitor.web.stream.encodings import ENCODINGS
from gpu_monitor.web.stream.viewer_group import ViewerGroup
from tests.support.web_house import (
    PATIENCE_SECONDS,
    SILENCE,
    Follower,
    decode,
    make_host,
    web_house,
)

PROTOCOLS = [None, *ENCODINGS]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_viewer_receives_the_fleet_and_then_each_patch(protocol: str | None) -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch(protocol=protocol) as socket:
            assert socket.protocol == protocol
            viewer = Follower(socket, protocol)
            assert (await viewer.receive())["type"] == "fleet"
            assert viewer.document == (await house.get("api/v1/fleet"))[1]
            house.broker.send_patch({"now": 1001.0, "hosts": {"a": {"state": "stale"}}})
            change = await viewer.next_change()
            assert change == {"now": 1001.0, "hosts": {"a": {"state": "stale"}}}


async def test_without_a_broker_a_viewer_sees_at_once_that_it_is_lost() -> None:
    async with web_house() as house, house.watch() as socket:
        message = decode(await socket.receive(timeout=PATIENCE_SECONDS))
        assert message["type"] == "fleet"
        assert message["fleet"]["broker"] == {"state": "lost"}
        assert message["fleet"]["hosts"] == {}


async def test_a_broker_that_falls_silent_is_shown_as_lost_and_patches_go_on() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.until(lambda document: document["broker"]["state"] == "lost")
            assert viewer.document["broker"]["heard_at"] == 1000.0
            assert (await viewer.receive())["patch"] == {"now": 1000.0}
            assert viewer.document["hosts"] == {"a": make_host()}


async def test_the_parameter_hosts_narrows_hosts_and_nothing_else() -> None:
    async with web_house() as house:
        await house.show(a=make_host(), b=make_host(), c=make_host())
        async with house.watch("ws?hosts=a,c,nobody") as socket:
            viewer = Follower(socket)
            await viewer.receive()
            assert viewer.document["hosts"].keys() == {"a", "c"}
            assert viewer.document["users"] == {"alice": {"gpus": 1}}
            house.broker.send_patch(
                {"totals": {"hosts": 2}, "hosts": {"b": {"state": "x"}, "c": None}}
            )
            change = await viewer.next_change()
            assert change == {"totals": {"hosts": 2}, "hosts": {"c": None}}


async def test_the_parameter_hosts_without_a_name_leaves_only_totals() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch("ws?hosts=") as socket:
            message = decode(await socket.receive(timeout=PATIENCE_SECONDS))
            assert message["fleet"]["hosts"] == {}
            assert message["fleet"]["totals"] == {"hosts": 1}


async def test_viewers_that_join_together_share_one_encoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = 0
    original = ViewerGroup.fleet_frame

    def count(*arguments: Any) -> bytes:
        nonlocal built
        built += 1
        return original(*arguments)

    monkeypatch.setattr(ViewerGroup, "fleet_frame", count)
    async with web_house() as house:
        await house.show(a=make_host())
        sockets = await asyncio.gather(*(house.watch() for _ in range(30)))
        fleets = [decode(await socket.receive(timeout=PATIENCE_SECONDS)) for socket in sockets]
        assert all(fleet["fleet"]["hosts"] == {"a": make_host()} for fleet in fleets)
        assert built <= 5
        for socket in sockets:
            await socket.close()
