"""Requests that have not arrived completely: how long they may take, how many bytes they may hold.

Threat: anyone who reaches the port can send half a request and wait. Each such request costs a
file and memory before anyone has signed in.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Client = TypeVar("Client", bound=Hashable)


class UnfinishedRequests(Generic[Client]):
    """At most one per connection, oldest first; times are seconds of one monotonic clock."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._began: OrderedDict[Client, tuple[float, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._began)

    def begin(self, client: Client, now: float) -> None:
        """Headers or a body are expected from now on."""
        self.end(client)
        self._began[client] = (now, 0)

    def receive(self, client: Client, size: int, now: float) -> int:
        """The bytes of this request so far, with `size` more."""
        began, before = self._began.get(client, (now, 0))
        self._began[client] = (began, before + size)
        self._bytes += size
        return before + size

    def end(self, client: Client) -> None:
        """Everything has arrived, or the connection is gone; harmless if repeated."""
        _, held = self._began.pop(client, (0.0, 0))
        self._bytes -= held

    def expired(self, now: float) -> list[Client]:
        """Those that have taken too long."""
        late = []
        for client, (began, _) in self._began.items():
            if now - began < self._seconds:
                break
            late.append(client)
        return late

    def overdrawn(self) -> list[Client]:
        """The oldest ones without which the others fit into the bytes that all may hold."""
        excess, oldest = self._bytes - self._max_bytes, []
        for client, (_, held) in self._began.items():
            if excess <= 0:
                break
            oldest.append(client)
            excess -= held
        return oldest
