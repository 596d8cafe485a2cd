"""Every open browser: one frame built once for all, a slow one caught up or let go."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from aiohttp import web

from .following import Document, Patch
from .framing import Encoding

Names: TypeAlias = frozenset[str]

MAX_VIEWERS = 5_000
MAX_VIEWERS_PER_ADDRESS = MAX_VIEWERS // 2
"""One address can never take every place; a proxy, behind which all viewers have its address,
still carries more than any fleet has."""
MAX_FILTERS = 64
"""Each distinct `hosts=` costs an encoding of its own at every tick."""
STUCK_SECONDS = 2.0
"""A connection that takes no byte for so long is cut."""
EMPTYING_SECONDS = 30.0
"""A connection that does take bytes, but has not taken all after so long, is cut too."""
HEARTBEAT_SECONDS = 1.0
_RECENT_FRAMES = 4
_HIGH_WATER_BYTES = 16 << 20


class Full(Exception):
    """No place for one more viewer; the text says of what there are too many."""


class Viewer:
    """One websocket. `sequence` is the last one written to it while it is behind."""

    __slots__ = ("address", "behind_since", "left_bytes", "moved_at", "sequence", "socket", "to")

    def __init__(
        self, socket: web.WebSocketResponse, to: asyncio.WriteTransport, address: str, now: float
    ) -> None:
        self.socket = socket
        self.to = to
        self.address = address
        self.sequence = -1
        self.fall_behind(-1, now)

    def fall_behind(self, sequence: int, now: float) -> None:
        """It has not yet taken what was written up to `sequence` (-1: nothing was written)."""
        self.sequence = sequence
        self.behind_since = self.moved_at = now
        self.left_bytes = self.to.get_write_buffer_size()

    def is_stuck(self, now: float) -> bool:
        """Whether bytes wait for it, and have waited too long. Called now and then."""
        left = self.to.get_write_buffer_size()
        if left < self.left_bytes:
            self.moved_at = now
        self.left_bytes = left
        if not left:
            return False
        return now - self.moved_at >= STUCK_SECONDS or now - self.behind_since >= EMPTYING_SECONDS


class Group:
    """Viewers with the same encoding and the same hosts: they are sent the same bytes.

    `recent` holds the latest patch frames, the last one of sequence `sequence`: who misses no
    more than these is sent them; who misses more, a fleet frame and what came after it.
    """

    def __init__(self, encoding: Encoding, names: Names | None, sequence: int, now: float) -> None:
        self.encoding = encoding
        self.names = names
        self.sequence = sequence
        self.current: set[Viewer] = set()
        self.behind: set[Viewer] = set()
        self.sent_at = now
        self.recent: deque[bytes] = deque()
        self.fleet: tuple[int, bytes] | None = None
        self.building: tuple[int, asyncio.Task[None]] | None = None

    def fleet_frame(self, sequence: int, document: Document) -> bytes:
        """The whole document as of patch `sequence`; slow for a large fleet: for a thread."""
        fleet = narrow(document, self.names)
        return self.encoding.frame({"type": "fleet", "sequence": sequence, "fleet": fleet})

    def send(self, patch: Patch, now: float) -> None:
        """The next patch to everyone whose buffer is empty; the others fall behind."""
        before = self.sequence
        self.sequence = before + 1
        narrowed = narrow(patch, self.names)
        frame = self.encoding.frame({"type": "patch", "sequence": self.sequence, "patch": narrowed})
        self._remember(frame)
        slow = []
        for viewer in self.current:
            to = viewer.to
            if to.get_write_buffer_size():
                slow.append(viewer)
            else:
                to.write(frame)
        for viewer in slow:
            viewer.fall_behind(before, self.sent_at)
        self.sent_at = now
        self.current.difference_update(slow)
        self.behind.update(slow)

    def catch_up(self, now: float) -> bool:
        """Send those that fell behind what they miss; True when that takes a new fleet frame."""
        needs_fleet = False
        for viewer in list(self.behind):
            if viewer.is_stuck(now):
                self.behind.discard(viewer)
                viewer.to.abort()
            elif viewer.left_bytes:
                continue
            elif (frames := self._missing(viewer.sequence)) is None:
                needs_fleet = True
            else:
                viewer.to.writelines(frames)
                viewer.fall_behind(self.sequence, now)
                if not viewer.left_bytes:
                    self.behind.discard(viewer)
                    self.current.add(viewer)
        return needs_fleet

    def _missing(self, sequence: int) -> list[bytes] | None:
        """The frames after `sequence`, or None if they are no longer there."""
        if sequence >= 0 and self.sequence - sequence <= len(self.recent):
            return list(self.recent)[len(self.recent) - (self.sequence - sequence) :]
        if self.fleet is None:
            return None
        built_at, frame = self.fleet
        return [frame, *(self._missing(built_at) or [])]

    def _remember(self, frame: bytes) -> None:
        self.recent.append(frame)
        keep = _RECENT_FRAMES
        if self.building is not None:
            keep = max(keep, self.sequence - self.building[0])
        while len(self.recent) > keep:
            self.recent.popleft()
        if self.fleet is not None and self.sequence - self.fleet[0] > len(self.recent):
            self.fleet = None


class Hub:
    """All viewers, by what they are sent.

    No viewer has a task of its own, and nothing here waits for one: bytes go straight to a
    transport whose buffer is empty, so that one who does not read holds up nobody.
    """

    def __init__(self, document: Document, clock: Callable[[], float]) -> None:
        self._document = document
        self._clock = clock
        self._sequence = 1
        self._told_at = clock()
        self._groups: dict[tuple[str, Names | None], Group] = {}
        self._viewers: dict[Viewer, Group] = {}
        self._addresses: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    def check_room(self, address: str, names: Names | None) -> None:
        """Full when there is no place for one more viewer."""
        if len(self._viewers) >= MAX_VIEWERS:
            raise Full(f"all {MAX_VIEWERS} places for viewers are taken")
        if self._addresses.get(address, 0) >= MAX_VIEWERS_PER_ADDRESS:
            raise Full(f"{MAX_VIEWERS_PER_ADDRESS} viewers of one address are connected")
        filters = {group.names for group in self._groups.values()}
        if names not in filters and len(filters) >= MAX_FILTERS:
            raise Full(f"{MAX_FILTERS} different choices of hosts are being watched")

    def join(
        self,
        socket: web.WebSocketResponse,
        to: asyncio.WriteTransport,
        encoding: Encoding,
        names: Names | None,
        address: str,
    ) -> Viewer:
        """A new viewer; it is sent the fleet as soon as that is encoded, then each patch."""
        to.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        viewer = Viewer(socket, to, address, self._clock())
        key = (encoding.protocol, names)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(encoding, names, self._sequence, self._clock())
        self._viewers[viewer] = group
        self._addresses[address] = self._addresses.get(address, 0) + 1
        group.behind.add(viewer)
        self._catch_up(group)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """The viewer's websocket is closing or closed: nothing more is written to it."""
        group = self._viewers.pop(viewer)
        group.current.discard(viewer)
        group.behind.discard(viewer)
        key = (group.encoding.protocol, group.names)
        if not group.current and not group.behind and self._groups.get(key) is group:
            del self._groups[key]
        self._addresses[viewer.address] -= 1
        if not self._addresses[viewer.address]:
            del self._addresses[viewer.address]

    def publish(self, document: Document, patch: Patch) -> None:
        """`patch` has made `document` of the one before: tell everyone."""
        self._document = document
        self._sequence += 1
        self._told_at = now = self._clock()
        for group in self._groups.values():
            group.send(patch, now)

    def look(self) -> None:
        """Catch up with the slow, cut the stuck, send a heartbeat. Called a few times a second."""
        for group in self._groups.values():
            if group.behind:
                self._catch_up(group)
        if self._clock() - self._told_at >= HEARTBEAT_SECONDS:
            now = self._document.get("now")
            self.publish(self._document, {} if now is None else {"now": now})

    async def close(self) -> None:
        """Tell everyone that the server goes away (1001); who is behind is cut."""
        for viewer in self._viewers:
            if viewer.to.get_write_buffer_size():
                viewer.to.abort()
        sockets = [viewer.socket for viewer in self._viewers]
        closing = (socket.close(code=1001, message=b"the server stops") for socket in sockets)
        await asyncio.gather(*closing, return_exceptions=True)

    def _catch_up(self, group: Group) -> None:
        if group.catch_up(self._clock()) and group.building is None:
            task = asyncio.get_running_loop().create_task(self._build(group))
            group.building = (group.sequence, task)

    async def _build(self, group: Group) -> None:
        sequence, document = group.sequence, self._document
        try:
            frame = await asyncio.to_thread(group.fleet_frame, sequence, document)
            group.fleet = (sequence, frame)
        finally:
            group.building = None
        self._catch_up(group)


def narrow(document: dict[str, Any], names: Names | None) -> dict[str, Any]:
    """A document or a patch with only these hosts; None means all of them."""
    hosts = document.get("hosts")
    if names is None or hosts is None:
        return document
    return {**document, "hosts": {name: hosts[name] for name in names if name in hosts}}
