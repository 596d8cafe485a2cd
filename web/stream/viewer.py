"""One open websocket: how far behind it is, and whether its other end still reads."""

import asyncio
import socket
import struct
from collections.abc import Sequence

from aiohttp import web

from gpu_monitor.web.auth.person import Person

KERNEL_QUEUE_BYTES = 1 << 17
"""The kernel accepts more bytes for a connection only while it holds fewer unsent ones than this.

Left alone it would hold megabytes: a thin line would carry minutes-old patches, and the
transport's buffer would show no progress for as long. More than any usual patch, so that one
write suffices; at 64 kbit/s the kernel still asks for more every 8 s.
"""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Viewer:
    """A websocket after its handshake.

    Frames go to its transport directly, and only when nothing else waits there, so a send never
    blocks: a viewer that does not read delays no one. `sequence` is the last patch written while
    the viewer is behind, -1 before its first fleet.
    """

    __slots__ = (
        "_socket",
        "_transport",
        "_unsent_bytes",
        "address",
        "moved_at",
        "person",
        "sequence",
    )

    def __init__(
        self,
        address: str,
        person: Person,
        websocket: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
    ) -> None:
        self.address = address
        self.person = person
        self.sequence = -1
        self.moved_at = 0.0
        """When the other end last took bytes, while it is behind."""
        self._socket = websocket
        self._transport = transport
        self._unsent_bytes = 0
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_QUEUE_BYTES)

    @property
    def is_drained(self) -> bool:
        """Whether the kernel holds everything that was written."""
        return not self._transport.get_write_buffer_size()

    def write(self, frame: bytes) -> None:
        """Only for a drained viewer."""
        self._transport.write(frame)

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Only for a drained viewer."""
        self._transport.writelines(frames)

    def fall_behind(self, sequence: int, now: float) -> None:
        """What was written up to `sequence` (-1: nothing yet) still waits in the buffer."""
        self.sequence = sequence
        self.moved_at = now
        self._unsent_bytes = self._transport.get_write_buffer_size()

    def stalled_seconds(self, now: float) -> float:
        """How long its buffer has not shrunk."""
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent_bytes or not unsent:
            self.moved_at = now
        self._unsent_bytes = unsent
        return now - self.moved_at

    def reset(self) -> None:
        """Drop the connection and everything unsent, without a closing handshake.

        A TCP reset: after an ordinary close the kernel would keep the unsent bytes for minutes.
        """
        connection = self._transport.get_extra_info("socket")
        if connection.fileno() != -1:  # else it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Close with a code of RFC 6455; reset a viewer that has not read what it was sent.

        Never waits for the other end to read: aiohttp would, without a limit.
        """
        if self.is_drained:
            await self._socket.close(code=code, message=reason.encode(), drain=False)
        else:
            self.reset()
