"""Websockets end to end: what viewers receive in which encoding, and what they may send."""

import asyncio
import base64
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gpu_monitor.web.settings import WebLimits
from gpu_monitor.web.stream.encodings import DEFLATE, ENCODINGS, JSON
from gpu_monitor.web.stream.viewer_group import ViewerGroup
from tests.support.web_house import (
    PATIENCE_SECONDS,
    SILENCE,
    Follower,
    House,
    decode,
    make_host,
    wait_for,
    web_house,
)

PROTOCOLS = [None, *ENCODINGS]
PING = b"\x89\x80mask"
"""An empty ping as a client sends it."""


def handshake(path: str = "/ws", **more: str) -> bytes:
    headers = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    headers.update({name.replace("_", "-"): value for name, value in more.items()})
    lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items() if v), "", ""]
    return "\r\n".join(lines).encode()


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A viewer's socket that the test does not read, with a small receive buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    yield connection
    connection.close()


def has_number(number: int) -> Callable[..., bool]:
    return lambda *answer: answer[-1].get("number") == number


async def connect_deaf(house: House, connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", house.port))
    await loop.sock_sendall(connection, handshake())
    assert (await loop.sock_recv(connection, 64)).startswith(b"HTTP/1.1 101")


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
async def test_a_request_that_is_no_handshake_is_refused_with_a_hint(
    header: dict[str, str],
) -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake(**header))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 426 ") and b"Upgrade: websocket" in head
        assert b"application/json" in head


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


@pytest.mark.parametrize("message", ["hello", b"\x00"])
async def test_a_viewer_that_sends_a_message_is_closed_with_1008(message: str | bytes) -> None:
    async with web_house() as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        if isinstance(message, str):
            await socket.send_str(message)
        else:
            await socket.send_bytes(message)
        await read_to_the_end(socket)
        assert socket.close_code == 1008


async def test_a_viewer_that_sends_a_large_message_is_cut_and_others_stay() -> None:
    async with web_house() as house, house.watch() as other, house.watch() as socket:
        viewer = Follower(other)
        with suppress(ConnectionError):
            await socket.send_str("x" * 10_000_000)
        await read_to_the_end(socket)
        assert socket.closed
        await viewer.receive()


async def test_a_viewer_that_breaks_the_protocol_is_closed_with_1002() -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x83\x80mask")  # a reserved opcode
        answer = await reader.read()
        writer.close()
        assert b"\x88" in answer and (1002).to_bytes(2, "big") in answer


async def test_a_flood_of_pings_delays_no_other_viewer(deaf: socket.socket) -> None:
    async with web_house() as house, house.watch() as other:
        viewer = Follower(other)
        await connect_deaf(house, deaf)
        loop = asyncio.get_running_loop()
        flood = asyncio.ensure_future(loop.sock_sendall(deaf, PING * 10_000_000))
        for _ in range(3):
            await viewer.receive()
        assert not flood.done()  # the server reads no more pings than it can answer
        flood.cancel()


async def test_a_ping_is_answered_with_its_payload() -> None:
    async with (
        web_house() as house,
        house.client.ws_connect(house.root + "ws", autoping=False) as socket,
    ):
        await socket.receive(timeout=PATIENCE_SECONDS)
        await socket.ping(b"there?")
        message = await socket.receive(timeout=PATIENCE_SECONDS)
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive(timeout=PATIENCE_SECONDS)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"there?")


async def test_a_viewer_that_closes_is_answered() -> None:
    async with web_house() as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        await socket.close(code=1000)
        assert socket.close_code == 1000


async def test_a_server_that_stops_closes_with_1001_and_soon_exits() -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as client:
        async with web_house() as house:
            socket = await client.ws_connect(house.root + "ws")
            await socket.receive(timeout=PATIENCE_SECONDS)
            leaving = asyncio.ensure_future(socket.receive(timeout=PATIENCE_SECONDS))
            before = loop.time()
        assert (await leaving).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
        assert loop.time() - before < PATIENCE_SECONDS


async def test_a_viewer_that_does_not_read_is_cut_and_delays_no_other(deaf: socket.socket) -> None:
    async with web_house(limits=WebLimits(stall_seconds=1.0)) as house:
        await house.show()
        await connect_deaf(house, deaf)
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.receive()
            number = 0
            while number < 100 or not is_cut(deaf):  # the kernel decides how much it buffers
                number += 1
                house.broker.send_patch({"words": os.urandom(50_000).hex(), "number": number})
                await viewer.until(has_number(number))
            assert viewer.fleets == 1


def is_cut(connection: socket.socket) -> bool:
    """Whether the server ended the connection; received bytes stay unread."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


async def read_to_the_end(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Skip messages until the websocket is closed."""
    while (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
        pass


def small_buffer(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose receive buffer is small even if the machine's default is large."""
    connection = socket.socket(*address[:3])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    return connection


async def test_a_viewer_that_was_slow_receives_a_fresh_fleet_without_a_gap() -> None:
    connector = aiohttp.TCPConnector(socket_factory=small_buffer)
    async with (
        web_house(limits=WebLimits(stall_seconds=600.0)) as house,
        aiohttp.ClientSession(connector=connector) as client,
        client.ws_connect(house.root + "ws", max_msg_size=0) as slow,
    ):
        await house.show()
        viewer = Follower(slow)
        await viewer.receive()
        host: dict[str, Any] = {}
        for number in range(25):
            host = {"state": "live", "number": number}
            house.broker.send_patch({"words": "x" * 1_000_000, "hosts": {"a": host}})
            await house.until("api/v1/hosts/a", has_number(number))
        await viewer.until(lambda document: document["hosts"].get("a") == host)
        assert viewer.fleets > 1
        assert viewer.document == (await house.get("api/v1/fleet"))[1]


async def refused_status(house: House, path: str = "ws", **options: Any) -> int:
    """The status of a handshake that must be refused."""
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


async def test_one_address_cannot_take_every_place() -> None:
    limits = WebLimits(viewers_per_address=1)
    async with web_house(limits=limits) as house, house.watch() as first:
        await first.receive(timeout=PATIENCE_SECONDS)
        assert await refused_status(house) == 503


async def test_viewers_behind_a_trusted_proxy_are_told_apart_by_address() -> None:
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


async def test_a_silent_viewer_is_pinged() -> None:
    async with web_house(limits=WebLimits(ping_seconds=0.1)) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake())
        await asyncio.wait_for(reader.readuntil(b"\x89\x00"), PATIENCE_SECONDS)
        writer.close()


async def test_a_viewer_that_answers_no_ping_is_cut_and_counted(deaf: socket.socket) -> None:
    async with web_house(limits=WebLimits(ping_seconds=0.1)) as house:
        await connect_deaf(house, deaf)
        await wait_for(lambda: is_cut(deaf))
        async with house.client.get(house.root + "metrics") as answer:
            expected = 'gpu_monitor_web_cut_viewers_total{reason="silent"} 1'
            assert expected in await answer.text()


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
