"""One open browser: its end of the websocket, without a task of its own."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import cast

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.stream.encodings import (
    CLOSE,
    PING,
    POLICY_VIOLATION,
    PONG,
    BadFrame,
    close_frame,
    frame,
    read_frames,
)

STUCK_SECONDS = 2.0
"""A connection that takes no byte for so long is cut."""
LINE_SECONDS = 20.0
"""So long where it is the line that does not bring what was sent: its kernel sends it again."""
EMPTYING_SECONDS = 120.0
"""A connection that does take bytes, but has not taken all after so long, is cut too."""
SIOCOUTQNSD = 0x894B  # linux/sockios.h; Python has no name for it
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
        self._under_way = self.left_bytes + self._in_kernel()[0]

    def is_stuck(self, now: float) -> bool:
        """Whether bytes wait for it, and have waited too long. Called now and then.

        On a thin line the kernel asks for more only once in a while, when a third of its buffer
        is free: what its own bytes do tells whether any are taken.
        """
        self.left_bytes = self.to.get_write_buffer_size()
        if not self.left_bytes:
            return False
        in_kernel, on_line = self._in_kernel()
        under_way = self.left_bytes + in_kernel
        if under_way < self._under_way:
            self.moved_at = now
        self._under_way = under_way
        patience = LINE_SECONDS if on_line else STUCK_SECONDS
        return now - self.moved_at >= patience or now - self.behind_since >= EMPTYING_SECONDS

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

    def _in_kernel(self) -> tuple[int, int]:
        """The bytes of ours that the other end has not acknowledged, and those of them that were
        sent: it has room for these, while one who does not read has none."""
        descriptor = self.to.get_extra_info("socket").fileno()
        waiting = _bytes_in(descriptor, termios.TIOCOUTQ)
        return waiting, waiting - min(waiting, _bytes_in(descriptor, SIOCOUTQNSD, waiting))

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


def _bytes_in(descriptor: int, request: int, otherwise: int = 0) -> int:
    """What the kernel counts of a connection (tcp(7), linux/sockios.h); `otherwise` where it has
    just been closed, or is none of TCP."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, request, bytes(4)), sys.byteorder)
    except (OSError, ValueError):
        return otherwise
