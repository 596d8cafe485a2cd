"""One open browser: its end of the websocket, without a task of its own."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import cast

from .framing import CLOSE, PING, POLICY_VIOLATION, PONG, BadFrame, close_frame, frame, read_frames
from .person import Person

STUCK_SECONDS = 2.0
"""A connection that takes no byte for so long is cut."""
EMPTYING_SECONDS = 120.0
"""A connection that does take bytes, but has not taken all after so long, is cut too."""
CLOSING_SECONDS = 0.5
"""So long a browser may take to answer a goodbye."""
_HIGH_WATER_BYTES = 16 << 20
_PINGS = 10.0
"""A viewer may send so many pings at once, and one more each second."""


class Viewer(asyncio.Protocol):
    """A websocket connection after its handshake.

    What it is sent is written to `to`, whole frames only. `sequence` is the last one written
    while it is behind, -1 before the first. `leave` is called once, when nothing more may be
    written: the viewer goes, or said something, or is cut.
    """

    __slots__ = (
        "_clock",
        "_leave",
        "_pings",
        "_rest",
        "_under_way",
        "address",
        "behind_since",
        "heard_at",
        "left",
        "left_bytes",
        "moved_at",
        "person",
        "ping_at",
        "sequence",
        "to",
        "unanswered",
    )

    to: asyncio.WriteTransport

    def __init__(
        self,
        address: str,
        person: Person,
        clock: Callable[[], float],
        leave: Callable[["Viewer"], None],
    ) -> None:
        self.address = address
        self.person = person
        self.left = False
        self.heard_at = self.ping_at = clock()
        self.sequence = -1
        self.left_bytes = self._under_way = 0
        self.unanswered = 0
        """Pings since anything came from it."""
        self.behind_since = self.moved_at = self.heard_at
        self._clock = clock
        self._leave = leave
        self._pings = _PINGS
        self._rest = b""

    def fall_behind(self, sequence: int, now: float) -> None:
        """It has not yet taken what was written up to `sequence` (-1: nothing was written)."""
        self.sequence = sequence
        self.behind_since = self.moved_at = now
        self.left_bytes = self.to.get_write_buffer_size()
        self._under_way = self.left_bytes + self._in_kernel()

    def is_stuck(self, now: float) -> bool:
        """Whether bytes wait for it, and have waited too long. Called now and then.

        On a thin line the kernel asks for more only once in a while, when a third of its buffer
        is free: what its own bytes do tells whether any are taken.
        """
        self.left_bytes = self.to.get_write_buffer_size()
        if not self.left_bytes:
            return False
        under_way = self.left_bytes + self._in_kernel()
        if under_way < self._under_way:
            self.moved_at = now
        self._under_way = under_way
        return now - self.moved_at >= STUCK_SECONDS or now - self.behind_since >= EMPTYING_SECONDS

    def ping(self) -> None:
        """Ask for a sign of life, unless bytes wait for it anyway."""
        if not self.to.get_write_buffer_size():
            self.to.write(frame(PING, b""))
            self.unanswered += 1

    def cut(self) -> None:
        """End the connection at once, without a word.

        A reset: after a mere close the kernel would keep what is not yet sent, often megabytes,
        for minutes.
        """
        self._go()
        connection = self.to.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.to.abort()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; who does not answer soon is cut."""
        self._go()
        self.to.write(close_frame(code, reason))
        asyncio.get_running_loop().call_later(CLOSING_SECONDS, self.to.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.to = cast(asyncio.WriteTransport, transport)
        self.to.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        self._pings = min(_PINGS, self._pings + self._clock() - self.heard_at)
        self.heard_at = self._clock()
        self.unanswered = 0
        try:
            frames, self._rest = read_frames(self._rest + data)
        except BadFrame as bad:
            self._rest = b""
            if not self.left:
                self.close(bad.code, str(bad))
            return
        for opcode, payload in frames:
            if opcode == CLOSE:
                self._answer_close(payload)
            elif opcode == PING and not self.left:
                self._answer_ping(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._go()

    def _in_kernel(self) -> int:
        """The bytes of ours that the other end has not yet acknowledged."""
        connection = self.to.get_extra_info("socket")
        try:
            count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # it has just been closed
            return 0
        return int.from_bytes(count, sys.byteorder)

    def _answer_close(self, payload: bytes) -> None:
        if not self.left:
            self._go()
            self.to.write(frame(CLOSE, payload[:2]))
        self.to.close()

    def _answer_ping(self, payload: bytes) -> None:
        self._pings -= 1
        if self._pings < 0:
            self.close(POLICY_VIOLATION, "too many pings")
        elif not self.to.get_write_buffer_size():
            self.to.write(frame(PONG, payload))

    def _go(self) -> None:
        if not self.left:
            self.left = True
            self._leave(self)
