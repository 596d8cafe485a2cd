"""A TCP proxy on loopback that records everything that passes through it."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Recorder:
    """Listens on `port` and forwards to `target`, another port of 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._parts: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]

    @property
    def data(self) -> bytes:
        """Everything that has passed so far, in both directions."""
        return b"".join(self._parts)

    def __enter__(self) -> "Recorder":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):  # no longer connected
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.socket()
                self._sockets += [near, far]
                try:
                    far.connect(("127.0.0.1", self._target))
                except ConnectionRefusedError:
                    near.close()
                    continue
                self._start(self._pass, near, far)
                self._start(self._pass, far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has closed
            while data := source.recv(65536):
                self._parts.append(data)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
