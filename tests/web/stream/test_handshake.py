"""Websocket viewers: what they are sent in which encoding, and what they may send."""

import asyncio
import base64
import os
import resource
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

from gpu_monitor.web.stream import hub, viewer_group
from gpu_monitor.web.stream.encodings import DEFLATE, ENCODINGS, JSON, PING
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
    """A viewer's socket that takes in very little as long as it is not read."""
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
async def test_a_viewer_is_sent_the_fleet_and_then_each_patch(protocol: str | None) -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch(protocol=protocol) as socket:
            assert socket.protocol == protocol
            viewer = Follower(socket, protocol)
            assert (await viewer.hear())["type"] == "fleet"
            assert viewer.document == (await house.get("api/v1/fleet"))[1]
            house.broker.patch({"now": 1001.0, "hosts": {"a": {"state": "stale"}}})
            told = await viewer.next_change()
            assert told == {"now": 1001.0, "hosts": {"a": {"state": "stale"}}}


async def test_the_first_known_subprotocol_is_taken() -> None:
    async with web_house() as house:
        offered = ("gpu-monitor.v9", DEFLATE.protocol, JSON.protocol)
        async with house.client.ws_connect(house.root + "ws", protocols=offered) as socket:
            assert socket.protocol == DEFLATE.protocol


async def test_an_empty_offer_of_subprotocols_is_none() -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake(Sec_WebSocket_Protocol=" , "))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 101") and b"Protocol:" not in head


async def test_without_a_file_to_spare_new_viewers_are_refused_and_others_stay() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with web_house() as house, house.watch() as old:
        await house.show()  # or a new socket for the broker would soon be due
        viewer = Follower(old)
        await viewer.hear()
        # A connection of the client's that is open already: only the server's duplicate fails.
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        spare = os.dup(0)
        os.close(spare)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
            writer.write(handshake())
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503")
            await viewer.hear()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        writer.close()


async def test_only_unknown_subprotocols_are_refused_with_the_list() -> None:
    async with web_house() as house:
        headers = dict(
            line.split(": ", 1)
            for line in handshake(Sec_WebSocket_Protocol="graphql-ws").decode().split("\r\n")[1:-2]
        )
        status, answer = await house.get("ws", headers=headers)
        assert status == 400
        assert all(protocol in answer["hint"] for protocol in ENCODINGS)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"Upgrade": ""}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Sec_WebSocket_Version": ""}, 426),
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
        ({"Sec_WebSocket_Key": "!!!!"}, 400),
    ],
)
async def test_what_is_no_handshake_is_refused_with_a_hint(
    more: dict[str, str], status: int
) -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake(**more))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"application/json" in head


async def test_before_the_broker_is_heard_a_viewer_is_told_so_at_once() -> None:
    async with web_house() as house, house.watch() as socket:
        message = decode(await socket.receive(timeout=PATIENCE_SECONDS))
        assert message["type"] == "fleet"
        assert message["fleet"]["broker"] == {"state": "lost"}
        assert message["fleet"]["hosts"] == {}


async def test_a_silent_broker_is_told_and_heartbeats_go_on() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.until(lambda document: document["broker"]["state"] == "lost")
            assert viewer.document["broker"]["heard_at"] == 1000.0
            assert (await viewer.hear())["patch"] == {"now": 1000.0}
            assert viewer.document["hosts"] == {"a": make_host()}


async def test_hosts_narrows_the_hosts_and_nothing_else() -> None:
    async with web_house() as house:
        await house.show(a=make_host(), b=make_host(), c=make_host())
        async with house.watch("ws?hosts=a,c,nobody") as socket:
            viewer = Follower(socket)
            await viewer.hear()
            assert viewer.document["hosts"].keys() == {"a", "c"}
            assert viewer.document["users"] == {"alice": {"gpus": 1}}
            house.broker.patch({"totals": {"hosts": 2}, "hosts": {"b": {"state": "x"}, "c": None}})
            told = await viewer.next_change()
            assert told == {"totals": {"hosts": 2}, "hosts": {"c": None}}


async def test_hosts_without_a_name_leaves_totals_only() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch("ws?hosts=") as socket:
            message = decode(await socket.receive(timeout=PATIENCE_SECONDS))
            assert message["fleet"]["hosts"] == {}
            assert message["fleet"]["totals"] == {"hosts": 1}


@pytest.mark.parametrize("said", ["hello", b"\x00", "x" * 100_000])
async def test_a_viewer_that_says_anything_is_closed_with_1008(said: Any) -> None:
    async with web_house() as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        await (socket.send_str(said) if isinstance(said, str) else socket.send_bytes(said))
        message = await socket.receive(timeout=PATIENCE_SECONDS)
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive(timeout=PATIENCE_SECONDS)
        assert socket.close_code == 1008
        assert house.root  # the others are served on
        assert (await house.get("healthz"))[0] == 200


async def test_a_viewer_that_sends_no_frames_is_closed_with_1002() -> None:
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x89\x00")
        answer = await reader.read()
        writer.close()
        assert b"\x88" in answer and (1002).to_bytes(2, "big") in answer


async def test_a_ping_is_answered_and_a_flood_of_them_is_not() -> None:
    async with web_house() as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        await socket.ping(b"there?")
        for _ in range(40):
            await socket.ping()
        while (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1008


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


async def test_a_viewer_that_says_goodbye_is_answered_and_forgotten() -> None:
    async with web_house() as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        await socket.close(code=1000)
        assert socket.close_code == 1000


async def test_a_server_that_stops_says_so_and_is_gone_soon() -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as client:
        async with web_house() as house:
            socket = await client.ws_connect(house.root + "ws")
            await socket.receive(timeout=PATIENCE_SECONDS)
            leaving = asyncio.ensure_future(socket.receive(timeout=PATIENCE_SECONDS))
            before = loop.time()
        assert (await leaving).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
        assert loop.time() - before < PATIENCE_SECONDS  # aiohttp's own way may take a minute


async def test_one_who_does_not_read_hurts_nobody_and_is_cut(deaf: socket.socket) -> None:
    async with web_house() as house:
        await house.show()
        await connect_deaf(house, deaf)
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.hear()
            number = 0
            while number < 100 or not is_cut(deaf):  # how much the kernel holds is up to it
                number += 1
                house.broker.patch({"words": os.urandom(50_000).hex(), "number": number})
                await viewer.until(has_number(number))
            assert viewer.fleets == 1


def is_cut(connection: socket.socket) -> bool:
    """Whether the connection was reset; what was sent stays unread."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def taking_in_little(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for which the kernel holds little, however much this machine lets it."""
    connection = socket.socket(*address[:3])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    return connection


async def test_one_who_was_slow_is_given_a_fresh_fleet_without_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpu_monitor.web.stream.viewer.STUCK_SECONDS", 60.0)  # slow, but never cut
    connector = aiohttp.TCPConnector(socket_factory=taking_in_little)
    async with (
        web_house() as house,
        aiohttp.ClientSession(connector=connector) as client,
        client.ws_connect(house.root + "ws", max_msg_size=0) as slow,
    ):
        await house.show()
        viewer = Follower(slow)
        await viewer.hear()
        host: dict[str, Any] = {}
        for number in range(25):
            host = {"state": "live", "number": number}
            house.broker.patch({"words": "x" * 1_000_000, "hosts": {"a": host}})
            await house.until("api/v1/hosts/a", has_number(number))
        await viewer.until(lambda document: document["hosts"].get("a") == host)
        assert viewer.fleets > 1
        assert viewer.document == (await house.get("api/v1/fleet"))[1]


async def test_there_is_a_place_for_so_many_viewers_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "MAX_VIEWERS", 2)
    async with web_house() as house:
        async with house.watch() as first, house.watch() as second:
            await first.receive(timeout=PATIENCE_SECONDS)
            await second.receive(timeout=PATIENCE_SECONDS)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await house.watch()
            assert refused.value.status == 503

        async def a_place_is_free() -> bool:
            try:
                async with house.watch() as third:
                    return bool(await third.receive(timeout=PATIENCE_SECONDS))
            except aiohttp.WSServerHandshakeError:
                return False

        await wait_for(a_place_is_free)


async def test_one_address_cannot_take_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_VIEWERS_PER_ADDRESS", 1)
    async with web_house() as house, house.watch() as first:
        await first.receive(timeout=PATIENCE_SECONDS)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.watch()
        assert refused.value.status == 503


async def test_behind_a_trusted_proxy_each_viewer_has_an_address_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "MAX_VIEWERS_PER_ADDRESS", 1)
    one, other = ({"X-Forwarded-For": f"198.51.100.{n}"} for n in (1, 2))
    async with web_house() as house, house.watch(headers=one), house.watch(headers=other):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.watch(headers=one)
        assert refused.value.status == 503
    async with web_house(trusted_proxies=()) as house, house.watch(headers=one):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await house.watch(headers=other)


async def test_who_watches_all_hosts_finds_a_place_beside_many_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "MAX_FILTERS", 1)
    async with web_house() as house, house.watch("ws?hosts=a") as first, house.watch() as all_:
        await first.receive(timeout=PATIENCE_SECONDS)
        assert (await all_.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT


async def test_only_so_many_choices_of_hosts_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_FILTERS", 1)
    async with web_house() as house, house.watch("ws?hosts=a") as first:
        await first.receive(timeout=PATIENCE_SECONDS)
        async with house.watch("ws?hosts=a") as same:
            await same.receive(timeout=PATIENCE_SECONDS)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.watch("ws?hosts=b")
        assert refused.value.status == 503


async def test_a_silent_viewer_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PING_SECONDS", 0.1)
    async with web_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(handshake())
        await asyncio.wait_for(reader.readuntil(bytes([0x80 | PING, 0])), PATIENCE_SECONDS)
        writer.close()


async def test_a_viewer_that_answers_no_ping_is_cut(
    monkeypatch: pytest.MonkeyPatch, deaf: socket.socket
) -> None:
    monkeypatch.setattr(hub, "PING_SECONDS", 0.1)
    async with web_house() as house:
        await connect_deaf(house, deaf)
        await wait_for(lambda: is_cut(deaf))


async def test_one_fleet_is_encoded_for_all_who_come_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = 0
    original = viewer_group.Group.fleet_frame

    def count(*arguments: Any) -> bytes:
        nonlocal built
        built += 1
        return original(*arguments)

    monkeypatch.setattr(viewer_group.Group, "fleet_frame", count)
    async with web_house() as house:
        await house.show(a=make_host())
        sockets = await asyncio.gather(*(house.watch() for _ in range(30)))
        fleets = [decode(await socket.receive(timeout=PATIENCE_SECONDS)) for socket in sockets]
        assert all(fleet["fleet"]["hosts"] == {"a": make_host()} for fleet in fleets)
        assert built <= 5
        for socket in sockets:
            await socket.close()
