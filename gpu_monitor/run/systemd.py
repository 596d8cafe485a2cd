"""Tells systemd that a service is up, that its loop goes round, that it stops (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping

BEATS_PER_PATIENCE = 3
"""One late beat, or a lost one, is no reason to kill a service."""


class Notify:
    """The way to the service manager; silent where none has asked to be told.

    `alive` is called from the loop that does the work and from nowhere else: a loop that is stuck
    falls silent, and systemd starts the service anew. `pause_seconds` is the longest that this
    loop waits between two rounds.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, pause_seconds: float = 1.0
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._patience_usec = int(environment.get("WATCHDOG_USEC", "0")) if watched else 0
        self._needed_usec = int(BEATS_PER_PATIENCE * pause_seconds * 1e6)
        self._ready = False

    @property
    def beat_seconds(self) -> float | None:
        """How often `alive` has to be called; None where nobody watches."""
        if not self._patience_usec or not self._address:
            return None
        return self._patience_usec / 1e6 / BEATS_PER_PATIENCE

    def alive(self) -> None:
        """The first call says that the service is up, each further one that it still works."""
        if self._ready:
            if self._patience_usec:
                self._tell("WATCHDOG=1")
            return
        self._ready = True
        words = "READY=1"
        if 0 < self._patience_usec < self._needed_usec:
            words += f"\nWATCHDOG_USEC={self._needed_usec}"
        self._tell(words)

    def stopping(self) -> None:
        """The service has been told to stop, and does so."""
        self._tell("STOPPING=1")

    def _tell(self, words: str) -> None:
        """A manager that is gone, or too busy to listen, costs nobody the service."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.connect(self._address)
                manager.send(words.encode())
        except OSError:
            return
