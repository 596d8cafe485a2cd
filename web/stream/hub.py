"""Every open browser: who is sent what, and how many there may be."""

import asyncio
from collections import deque
from collections.abc import Callable

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.redaction import see_patch
from gpu_monitor.web.settings import Role
from gpu_monitor.web.stream.encodings import GOING_AWAY, POLICY_VIOLATION, Encoding
from gpu_monitor.web.stream.viewer import CLOSING_SECONDS, Viewer
from gpu_monitor.web.stream.viewer_group import Group, Names
from gpu_monitor.wire.replica import Document, Patch

MAX_VIEWERS = 5_000
MAX_VIEWERS_PER_ADDRESS = MAX_VIEWERS // 2
"""One address can never take every place; a proxy, behind which all viewers have its address,
still carries more than any fleet has."""
MAX_FILTERS = 64
"""Each distinct `hosts=` costs an encoding of its own at every tick."""
HEARTBEAT_SECONDS = 1.0
"""A patch at least so often, also while the broker is silent: else the page thinks us gone."""
PING_SECONDS = 20.0
"""Proxies cut what is silent for 60 s."""
UNANSWERED_PINGS = 2
"""Who has answered none of so many is gone, though the connection never said so. They are counted,
for by the clock nobody would have answered while this machine slept."""
SLOW, SILENT = "slow", "silent"
"""Why a viewer was cut: took no bytes, answered no pings."""


class Full(Exception):
    """No place for one more viewer; the text says of what there are too many."""


class Hub:
    """All viewers, by what they are sent.

    No viewer has a task of its own, and nothing here waits for one: bytes go straight to a
    transport whose buffer is empty, so that one who does not read holds up nobody. `cut` counts
    those that were cut, by reason, `refused` those for whom there was no place.
    """

    def __init__(self, document: Document, clock: Callable[[], float]) -> None:
        self._document = document
        self._clock = clock
        self._sequence = 1
        self._told_at = clock()
        self._groups: dict[tuple[str, Names | None, Role], Group] = {}
        self._viewers: dict[Viewer, Group] = {}
        self._addresses: dict[str, int] = {}
        self._pings: deque[Viewer] = deque()
        self.cut = {SLOW: 0, SILENT: 0}
        self.refused = 0

    def __len__(self) -> int:
        return len(self._viewers)

    def check_room(self, address: str, names: Names | None, role: Role) -> None:
        """Full when there is no place for one more viewer."""
        if why := self._why_full(address, names, role):
            self.refused += 1
            raise Full(why)

    def greet(self, address: str, person: Person) -> Viewer:
        """Somebody whose connection is being set up; to be followed by `join`."""
        return Viewer(address, person, self._clock, self._leave)

    def join(self, viewer: Viewer, encoding: Encoding, names: Names | None) -> None:
        """A connected viewer is sent the fleet as soon as that is encoded, then each patch.

        All of it as the viewer's role sees it.
        """
        now, role = self._clock(), viewer.person.role
        key = (encoding.protocol, names, role)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(
                encoding, names, role, self._sequence, now, lambda slow: self._cut(slow, SLOW)
            )
        self._viewers[viewer] = group
        self._addresses[viewer.address] = self._addresses.get(viewer.address, 0) + 1
        viewer.ping_at = now + PING_SECONDS
        self._pings.append(viewer)
        group.behind.add(viewer)
        self._catch_up(group)

    def publish(self, document: Document, patch: Patch) -> None:
        """`patch` has made `document` of the one before: tell everyone."""
        self._document = document
        self._sequence += 1
        self._told_at = now = self._clock()
        seen: dict[Role, Patch] = {}
        for group in list(self._groups.values()):
            if group.role not in seen:
                seen[group.role] = see_patch(patch, group.role)
            group.send(seen[group.role], now)

    def look(self) -> None:
        """Catch up with the slow, cut the stuck and the dead, send heartbeats.

        Called a few times a second.
        """
        now = self._clock()
        for group in list(self._groups.values()):
            if group.behind:
                self._catch_up(group)
        self._ping(now)
        if now - self._told_at >= HEARTBEAT_SECONDS:
            at = self._document.get("now")
            self.publish(self._document, {} if at is None else {"now": at})

    def dismiss(self, is_welcome: Callable[[Person], bool]) -> None:
        """Leave those who may not watch any more."""
        for viewer in [v for v in self._viewers if not is_welcome(v.person)]:
            if viewer.to.get_write_buffer_size():
                viewer.cut()
            else:
                viewer.close(POLICY_VIOLATION, "signed out")

    async def close(self) -> None:
        """Tell everyone that the server goes away; who does not take it in is cut."""
        going = list(self._viewers)
        for viewer in going:
            if viewer.to.get_write_buffer_size():
                viewer.cut()
            else:
                viewer.close(GOING_AWAY, "the server stops")
        deadline = self._clock() + CLOSING_SECONDS
        while self._clock() < deadline and not all(v.to.is_closing() for v in going):
            await asyncio.sleep(0.01)
        for viewer in going:
            viewer.to.abort()

    def _why_full(self, address: str, names: Names | None, role: Role) -> str:
        if len(self._viewers) >= MAX_VIEWERS:
            return f"all {MAX_VIEWERS} places for viewers are taken"
        if self._addresses.get(address, 0) >= MAX_VIEWERS_PER_ADDRESS:
            return f"{MAX_VIEWERS_PER_ADDRESS} viewers of one address are connected"
        filters = {(g.names, g.role) for g in self._groups.values() if g.names is not None}
        if names is not None and (names, role) not in filters and len(filters) >= MAX_FILTERS:
            return f"{MAX_FILTERS} different choices of hosts are being watched"
        return ""

    def _cut(self, viewer: Viewer, reason: str) -> None:
        self.cut[reason] += 1
        viewer.cut()

    def _ping(self, now: float) -> None:
        while self._pings and self._pings[0].ping_at <= now:
            viewer = self._pings.popleft()
            if viewer.left:
                continue
            if viewer.unanswered >= UNANSWERED_PINGS:
                self._cut(viewer, SILENT)
                continue
            viewer.ping()
            viewer.ping_at = now + PING_SECONDS
            self._pings.append(viewer)

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

    def _leave(self, viewer: Viewer) -> None:
        group = self._viewers.pop(viewer, None)
        if group is None:
            return
        group.current.discard(viewer)
        group.behind.discard(viewer)
        key = (group.encoding.protocol, group.names, group.role)
        if not group.current and not group.behind and self._groups.get(key) is group:
            del self._groups[key]
        self._addresses[viewer.address] -= 1
        if not self._addresses[viewer.address]:
            del self._addresses[viewer.address]
