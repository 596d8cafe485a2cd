"""What keeps a websocket open, and which viewers are cut."""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from gpu_monitor.web.settings import WebLimits
from tests.support.handshakes import handshake
from tests.support.web_house import (
    PATIENCE_SECONDS,
    Follower,
    House,
    wait_for,
    web_house,
)

PING = b"\x89\x80mask"
"""An empty ping as a client sends it."""


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
