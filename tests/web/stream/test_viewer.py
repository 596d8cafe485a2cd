"""One viewer over a real connection: how much the kernel queues, and how it is cut."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from aiohttp import web

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.stream.viewer import KERNEL_QUEUE_BYTES, Viewer

LARGE_FRAME = bytes(8 << 20)


class Line(NamedTuple):
    """A viewer, its transport, and the client's end, which only the test reads."""

    viewer: Viewer
    transport: asyncio.Transport
    far_end: socket.socket


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as far_end:
        far_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far_end.connect(server.getsockname())
        near_end, _ = server.accept()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, near_end)
        viewer = Viewer("here", Person("", "commands"), web.WebSocketResponse(), transport)
        yield Line(viewer, transport, far_end)
        transport.abort()


async def test_the_kernel_queues_little_of_a_large_frame(line: Line) -> None:
    line.viewer.write(LARGE_FRAME)
    accepted = len(LARGE_FRAME) - line.transport.get_write_buffer_size()
    assert 0 < accepted < 3 * KERNEL_QUEUE_BYTES
    assert not line.viewer.is_drained


async def test_reading_a_few_bytes_counts_as_progress(line: Line) -> None:
    line.viewer.write(LARGE_FRAME)
    line.viewer.fall_behind(1, 0.0)
    assert line.viewer.stalled_seconds(15.0) == 15.0
    for _ in range(2 * KERNEL_QUEUE_BYTES // 4096):
        line.far_end.recv(4096)
        await asyncio.sleep(0)
    assert line.viewer.stalled_seconds(19.0) == 0.0
    assert line.viewer.stalled_seconds(39.0) == 20.0


async def test_a_reset_drops_what_is_unsent_at_once(line: Line) -> None:
    line.viewer.write(LARGE_FRAME)
    line.viewer.reset()
    await asyncio.sleep(0)
    poll = select.poll()
    poll.register(line.far_end, 0)
    assert any(event & select.POLLERR for _, event in poll.poll(10_000))
    line.viewer.reset()  # harmless once the connection is gone
