"""Notify systemd that a service is up, alive and stopping (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping

BEATS_PER_TIMEOUT = 3
"""One late or lost heartbeat must not get a service killed."""


class ServiceManager:
    """The connection to the service manager; does nothing if it has not asked for notifications.

    Call `report_alive` only from the loop that does the work: if it hangs, the heartbeats cease and
    systemd restarts the service. `pause_seconds` is that loop's longest pause between two rounds.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, pause_seconds: float = 1.0
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._timeout_usec = int(environment.get("WATCHDOG_USEC", "0")) if watched else 0
        self._min_timeout_usec = int(BEATS_PER_TIMEOUT * pause_seconds * 1e6)
        self._ready = False

    @property
    def heartbeat_seconds(self) -> float | None:
        """How often to call `report_alive`; None without a watchdog."""
        if not self._timeout_usec or not self._address:
            return None
        return self._timeout_usec / 1e6 / BEATS_PER_TIMEOUT

    def report_alive(self) -> None:
        """Report that the service is up (first call), then that it is still working."""
        if self._ready:
            if self._timeout_usec:
                self._send("WATCHDOG=1")
            return
        self._ready = True
        message = "READY=1"
        if 0 < self._timeout_usec < self._min_timeout_usec:
            message += f"\nWATCHDOG_USEC={self._min_timeout_usec}"
        self._send(message)

    def report_stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        """Errors are ignored: the service goes on without its manager."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.connect(self._address)
                manager.send(message.encode())
        except OSError:
            return
