"""A slow line to a server: every connection and every request costs its round trip."""

import asyncio
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.threaded_server import threaded_server

CHUNK_BYTES = 1 << 16


class SlowLine:
    """Forwards TCP to a port of this machine, each byte half a round trip late.

    Nothing from a client leaves before its connection has cost a whole round trip, as a handshake
    over a real line does. The bandwidth is unlimited.
    """

    def __init__(self, port: int, round_trip_seconds: float) -> None:
        self._port = port
        self._delay = round_trip_seconds / 2

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        opened_at = asyncio.get_running_loop().time() + 2 * self._delay
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(OSError):  # either end may go away at any time
            try:
                await asyncio.gather(
                    self._forward(reader, inner_writer, opened_at),
                    self._forward(inner_reader, writer, 0.0),
                )
            finally:
                writer.close()
                inner_writer.close()

    async def _forward(self, reader: StreamReader, writer: StreamWriter, not_before: float) -> None:
        loop = asyncio.get_running_loop()
        queue: Queue[tuple[float, bytes]] = Queue()
        delivery = asyncio.ensure_future(self._deliver(queue, writer))
        data = b"-"
        while data:
            data = await reader.read(CHUNK_BYTES)
            queue.put_nowait((max(loop.time(), not_before) + self._delay, data))
        await delivery

    async def _deliver(self, queue: Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
        """Write what is queued when it is due; an empty item is the end of the stream."""
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


@contextmanager
def slow_line(port: int, round_trip_seconds: float) -> Iterator[int]:
    """The port of a slow line to `port`."""
    with threaded_server(SlowLine(port, round_trip_seconds).serve) as own:
        yield own
