"""A socket's handshakes as libzmq reports them (zmq_socket_monitor), read without blocking."""

import itertools
import struct
from collections.abc import Iterator

import zmq

_numbers = itertools.count()


class Handshakes:
    """The handshakes of one socket, from its next connection on.

    Read them regularly: once 1,000 events are waiting, libzmq's I/O thread blocks, and with it
    every socket of the context. Close them before a socket that connects: events continue until
    its last connection has ended, and without a reader the I/O thread would block forever
    (libzmq#3575).
    """

    def __init__(self, watched: "zmq.Socket[bytes]", events: int) -> None:
        """`events` are zmq.EVENT_HANDSHAKE_..., or-ed."""
        self._watched = watched
        address = f"inproc://handshakes-{next(_numbers)}"
        self._monitor = watched.get_monitor_socket(events, address)

    def fileno(self) -> int:
        """Readable when there may be events."""
        return self._monitor.fileno()

    def drain(self) -> Iterator[tuple[int, int]]:
        """Yields each event since the last call and its value, libzmq's code of what failed."""
        while True:
            try:
                event, value = struct.unpack("=HI", self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return
            yield event, value

    def close(self) -> None:
        """Stops monitoring; the socket stays open."""
        for _ in self.drain():  # an I/O thread that waits for room would block us
            pass
        if not self._watched.closed:
            self._watched.disable_monitor()
        self._monitor.close(0)
