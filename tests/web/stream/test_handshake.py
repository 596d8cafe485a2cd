"""Handshakes: which subprotocol is chosen, which requests are refused, how many are admitted."""

import asyncio
from typing import Any

import aiohttp
import pytest

from gpu_monitor.web.settings import WebLimits
from gpu_monitor.web.stream.encodings import DEFLATE, ENCODINGS, JSON
from tests.support.handshakes import handshake
from tests.support.web_house import (
    PATIENCE_SECONDS,
    House,
    wait_for,
    web_house,
)


async def test_the_first_known_subprotocol_is_chosen() -> None:
    async with web_house() as house:
        offered = ("gpu-monitor.v9", DEFLATE.protocol, JSON.protocol)
        async with house.client.ws_connect(house.root + "ws", protocols=offered) as socket:
            assert socket.protocol == DEFLATE.protocol


@pytest.mark.parametrize("offer", [" , ", "gpu-monitor.ticket.x"])
async def test_an_offer_without_a_subprotocol_means_json_and_is_not_logged(
    offer: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake(Sec_WebSocket_Protocol=offer))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 101") and b"Protocol:" not in head
    assert caplog.records == []


async def test_an_offer_without_a_known_subprotocol_is_refused_with_a_list() -> None:
    async with web_house() as house:
        headers = dict(
            line.split(": ", 1)
            for line in handshake(Sec_WebSocket_Protocol="graphql-ws").decode().split("\r\n")[1:-2]
        )
        status, answer = await house.get("ws", headers=headers)
        assert status == 400
        assert all(protocol in answer["hint"] for protocol in ENCODINGS)


@pytest.mark.parametrize(
    "header",
    [
        {"Upgrade": ""},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec_WebSocket_Version": "12"},
        {"Sec_WebSocket_Version": ""},
        {"Sec_WebSocket_Key": ""},
        {"Sec_WebSocket_Key": "c2hvcnQ="},
        {"Sec_WebSocket_Key": "!!!!"},
    ],
)
async def test_a_request_that_is_not_a_handshake_is_refused_with_a_hint(
    header: dict[str, str],
) -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake(**header))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 426 ") and b"Upgrade: websocket" in head
        assert b"application/json" in head


async def refused_status(house: House, path: str = "ws", **options: Any) -> int:
    """Open a websocket that must be refused; return the status."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.watch(path, **options)
    return refused.value.status


async def test_viewers_beyond_the_limit_are_refused_until_one_leaves() -> None:
    async with web_house(limits=WebLimits(viewers=2)) as house:
        async with house.watch() as first, house.watch() as second:
            await first.receive(timeout=PATIENCE_SECONDS)
            await second.receive(timeout=PATIENCE_SECONDS)
            assert await refused_status(house) == 503

        async def is_admitted() -> bool:
            try:
                async with house.watch() as third:
                    return bool(await third.receive(timeout=PATIENCE_SECONDS))
            except aiohttp.WSServerHandshakeError:
                return False

        await wait_for(is_admitted)


async def test_one_address_cannot_take_all_places() -> None:
    limits = WebLimits(viewers_per_address=1)
    async with web_house(limits=limits) as house, house.watch() as first:
        await first.receive(timeout=PATIENCE_SECONDS)
        assert await refused_status(house) == 503


async def test_viewers_behind_a_trusted_proxy_are_distinguished_by_address() -> None:
    limits = WebLimits(viewers_per_address=1)
    one, other = ({"X-Forwarded-For": f"198.51.100.{n}"} for n in (1, 2))
    async with (
        web_house(limits=limits) as house,
        house.watch(headers=one),
        house.watch(headers=other),
    ):
        assert await refused_status(house, headers=one) == 503
    async with web_house(limits=limits, trusted_proxies=()) as house, house.watch(headers=one):
        assert await refused_status(house, headers=other) == 503


async def test_a_viewer_of_all_hosts_is_admitted_when_host_choices_are_used_up() -> None:
    limits = WebLimits(host_choices=1)
    async with (
        web_house(limits=limits) as house,
        house.watch("ws?hosts=a") as first,
        house.watch() as all_hosts,
    ):
        await first.receive(timeout=PATIENCE_SECONDS)
        assert (await all_hosts.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT


async def test_the_number_of_host_choices_is_limited() -> None:
    limits = WebLimits(host_choices=1)
    async with web_house(limits=limits) as house, house.watch("ws?hosts=a") as first:
        await first.receive(timeout=PATIENCE_SECONDS)
        async with house.watch("ws?hosts=a") as same:
            await same.receive(timeout=PATIENCE_SECONDS)
        assert await refused_status(house, "ws?hosts=b") == 503


async def test_one_address_does_not_take_the_host_choices_of_all() -> None:
    one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    limits = WebLimits(host_choices=64, host_choices_per_address=1)
    async with (
        web_house(limits=limits) as house,
        house.watch("ws?hosts=a", headers=one) as first,
    ):
        await first.receive(timeout=PATIENCE_SECONDS)
        async with house.watch("ws?hosts=a", headers=one) as same:
            await same.receive(timeout=PATIENCE_SECONDS)
        assert await refused_status(house, "ws?hosts=b", headers=one) == 503
        async with house.watch("ws?hosts=b", headers=other) as elsewhere:
            await elsewhere.receive(timeout=PATIENCE_SECONDS)
