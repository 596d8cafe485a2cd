"""What libzmq tells of a socket's handshakes (zmq_socket_monitor), read without blocking."""

import itertools
import struct
from collections.abc import Iterator

import zmq

_numbers = itertools.count()


class Handshakes:
    """Of one socket, from its next connection on.

    To be read regularly: once 1,000 events wait, libzmq's I/O thread waits too, and with it every
    socket of the context. To be closed before a socket that connects: events go on until its last
    connection has ended, and the I/O thread would wait for ever for a reader that has gone
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

    def read(self) -> Iterator[tuple[int, int]]:
        """Each event since the last time, with its value: libzmq's code of what failed."""
        while True:
            try:
                event, value = struct.unpack("=HI", self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return
            yield event, value

    def close(self) -> None:
        """Watch no more; the socket goes on."""
        for _ in self.read():  # an I/O thread that waits for room would keep us waiting
            pass
        if not self._watched.closed:
            self._watched.disable_monitor()
        self._monitor.close(0)
