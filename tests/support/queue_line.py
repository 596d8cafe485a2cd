"""A TCP proxy whose line can be made thin, long or stuck while it runs."""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.threaded_server import threaded_server

CHUNK_BYTES = 1024
RECEIVE_BYTES = 4096
"""The kernel's buffer for each connection, so that most of what waits does so here."""


class QueueLine:
    """Forwards TCP to a port of this machine; the knobs may be turned from another thread.

    They concern what clients send: `rate` in bytes a second, `delay` in seconds, `growth` in
    seconds of delay a second. While it `is_stuck`, nothing is delivered. What waits is never
    lost and never overtaken, as in a router's queue; `buffer` bytes of it are taken.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.rate = float("inf")
        self.delay = 0.0
        self.growth = 0.0
        self.is_stuck = False
        self.buffer = 1 << 20

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        return await asyncio.start_server(self._accept, sock=listener, limit=RECEIVE_BYTES)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        queue: deque[tuple[float, bytes]] = deque()
        with suppress(OSError):  # either end may go away at any time
            try:
                await asyncio.gather(
                    self._fill(reader, queue),
                    self._drain(queue, inner_writer),
                    self._return(inner_reader, writer),
                )
            finally:
                writer.close()
                inner_writer.close()

    async def _fill(self, reader: StreamReader, queue: deque[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        while data := await reader.read(CHUNK_BYTES):
            queue.append((now(), data))
            while len(queue) * CHUNK_BYTES >= self.buffer:
                await asyncio.sleep(0.01)
        raise ConnectionResetError

    async def _drain(self, queue: deque[tuple[float, bytes]], writer: StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        turned = free_at = now()
        while True:
            self.delay, turned = self.delay + self.growth * (now() - turned), now()
            while queue and not self.is_stuck and queue[0][0] + self.delay <= now() >= free_at:
                data = queue.popleft()[1]
                free_at = max(free_at, now() - 0.02) + len(data) / self.rate
                writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.005)

    async def _return(self, reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@contextmanager
def queue_line(port: int) -> Iterator[tuple[QueueLine, int]]:
    """A line to `port`, and the port that it listens on."""
    line = QueueLine(port)
    with threaded_server(line.serve) as own:
        yield line, own
