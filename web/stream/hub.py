"""All open websockets: which group each belongs to, how many there may be, which are cut."""

import asyncio
from collections.abc import Callable

from aiohttp import WSCloseCode

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.redaction import redact_patch
from gpu_monitor.web.settings import Role, WebLimits
from gpu_monitor.web.stream.encodings import Encoding
from gpu_monitor.web.stream.viewer import Viewer
from gpu_monitor.web.stream.viewer_group import HostNames, ViewerGroup
from gpu_monitor.wire.replica import Document, Patch

PATCH_SECONDS = 1.0
"""A patch goes out at least this often, even while the broker is silent: the page would
otherwise consider the connection dead, and so would proxies."""
SLOW, SILENT = "slow", "silent"
"""Why a viewer was cut: it took no bytes, it answered no ping."""


class HubFull(Exception):
    """No room for another viewer; the text names the limit."""


class Hub:
    """Every viewer, in groups that receive the same bytes.

    Nothing here waits for a viewer, and sending creates no tasks. `cut` counts viewers that were
    cut, by reason; `refused` counts those for whom there was no room.
    """

    def __init__(self, document: Document, clock: Callable[[], float], limits: WebLimits) -> None:
        self.limits = limits
        self.cut = {SLOW: 0, SILENT: 0}
        self.refused = 0
        self._document = document
        self._clock = clock
        self._sequence = 1
        self._published_at = clock()
        self._groups: dict[tuple[str, HostNames | None, Role], ViewerGroup] = {}
        self._viewers: dict[Viewer, ViewerGroup] = {}
        self._addresses: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._viewers)

    def check_room(self, address: str, names: HostNames | None, role: Role) -> None:
        """Raise HubFull if there is no room for another viewer."""
        if why := self._why_full(address, names, role):
            self.refused += 1
            raise HubFull(why)

    def join(self, viewer: Viewer, encoding: Encoding, names: HostNames | None) -> None:
        """Send the viewer the fleet once it is encoded, then each patch, as its role sees them."""
        now, role = self._clock(), viewer.person.role
        key = (encoding.protocol, names, role)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = ViewerGroup(encoding, names, role, self._sequence, now)
        self._viewers[viewer] = group
        self._addresses[viewer.address] = self._addresses.get(viewer.address, 0) + 1
        viewer.moved_at = now
        group.behind.add(viewer)
        self._catch_up(group)

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer; harmless if it has left already."""
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

    def publish(self, document: Document, patch: Patch) -> None:
        """Send everyone the patch that led to this document."""
        self._document = document
        self._sequence += 1
        self._published_at = now = self._clock()
        redacted: dict[Role, Patch] = {}
        for group in list(self._groups.values()):
            if group.role not in redacted:
                redacted[group.role] = redact_patch(patch, group.role)
            group.send_patch(redacted[group.role], now)

    def tick(self) -> None:
        """Cut stalled viewers, help slow ones catch up, keep the stream alive.

        To be called several times a second.
        """
        now = self._clock()
        for group in [group for group in self._groups.values() if group.behind]:
            for viewer in group.stalled(now, self.limits.stall_seconds):
                self.drop(viewer, SLOW)
            self._catch_up(group)
        if now - self._published_at >= PATCH_SECONDS:
            at = self._document.get("now")
            self.publish(self._document, {} if at is None else {"now": at})

    def drop(self, viewer: Viewer, reason: str) -> None:
        """Cut a viewer that does not read (SLOW) or is gone (SILENT)."""
        self.cut[reason] += 1
        self.leave(viewer)
        viewer.reset()

    async def dismiss(self, is_welcome: Callable[[Person], bool]) -> None:
        """Close the websockets of people who may no longer watch."""
        unwelcome = [viewer for viewer in self._viewers if not is_welcome(viewer.person)]
        await self._close(unwelcome, WSCloseCode.POLICY_VIOLATION, "signed out")

    async def close(self) -> None:
        """Close every websocket because the server stops."""
        await self._close(list(self._viewers), WSCloseCode.GOING_AWAY, "the server is stopping")

    async def _close(self, viewers: list[Viewer], code: int, reason: str) -> None:
        for viewer in viewers:
            self.leave(viewer)
        await asyncio.gather(*(viewer.close(code, reason) for viewer in viewers))

    def _why_full(self, address: str, names: HostNames | None, role: Role) -> str:
        limits = self.limits
        if len(self._viewers) >= limits.viewers:
            return f"all {limits.viewers} places for viewers are taken"
        if self._addresses.get(address, 0) >= limits.viewers_per_address:
            return f"this address has {limits.viewers_per_address} viewers already"
        chosen = {(g.names, g.role) for g in self._groups.values() if g.names is not None}
        if names is None or (names, role) in chosen:
            return ""
        if len(chosen) >= limits.host_choices:
            return f"viewers already watch {limits.host_choices} different choices of hosts"
        if self._choices_of(address) >= limits.host_choices_per_address:
            most = limits.host_choices_per_address
            return f"this address already watches {most} different choices of hosts"
        return ""

    def _choices_of(self, address: str) -> int:
        """How many different choices of hosts the viewers at this address watch."""
        own = {
            (group.names, group.role)
            for viewer, group in self._viewers.items()
            if viewer.address == address and group.names is not None
        }
        return len(own)

    def _catch_up(self, group: ViewerGroup) -> None:
        if group.catch_up(self._clock()) and group.building is None:
            task = asyncio.get_running_loop().create_task(self._build(group))
            group.building = (group.sequence, task)

    async def _build(self, group: ViewerGroup) -> None:
        sequence, document = group.sequence, self._document
        try:
            frame = await asyncio.to_thread(group.fleet_frame, sequence, document)
            group.fleet = (sequence, frame)
        finally:
            group.building = None
        self._catch_up(group)
