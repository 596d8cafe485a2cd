"""Viewers that receive the same bytes: build each frame once, help the slow ones catch up."""

import asyncio
from collections import deque
from typing import Any, TypeAlias

from gpu_monitor.web.auth.redaction import redact_document
from gpu_monitor.web.settings import Role
from gpu_monitor.web.stream.encodings import Encoding
from gpu_monitor.web.stream.viewer import Viewer
from gpu_monitor.wire.replica import Document, Patch

HostNames: TypeAlias = frozenset[str]

_RECENT_FRAMES = 4


class ViewerGroup:
    """Viewers with the same encoding, hosts and role.

    `recent` holds the latest patch frames; `sequence` is that of the last one. Viewers at most
    this far behind get the missing frames; others get a full snapshot and what came after it.
    """

    def __init__(
        self,
        encoding: Encoding,
        names: HostNames | None,
        role: Role,
        sequence: int,
        now: float,
    ) -> None:
        self.encoding = encoding
        self.names = names
        self.role: Role = role
        self.sequence = sequence
        self.current: set[Viewer] = set()
        self.behind: set[Viewer] = set()
        self.sent_at = now
        self.recent: deque[bytes] = deque()
        self.fleet: tuple[int, bytes] | None = None
        """The latest snapshot frame and the sequence it was built at, while it is of use."""
        self.building: tuple[int, asyncio.Task[None]] | None = None

    def fleet_frame(self, sequence: int, document: Document) -> bytes:
        """The whole document as of patch `sequence`. Slow for a large fleet: for a thread."""
        fleet = redact_document(narrow(document, self.names), self.role)
        return self.encoding.frame({"type": "fleet", "sequence": sequence, "fleet": fleet})

    def send_patch(self, patch: Patch, now: float) -> None:
        """Send the next patch, already redacted for the role, to every drained viewer.

        The others fall behind.
        """
        before = self.sequence
        self.sequence = before + 1
        narrowed = narrow(patch, self.names)
        frame = self.encoding.frame({"type": "patch", "sequence": self.sequence, "patch": narrowed})
        self._remember(frame)
        slow = []
        for viewer in self.current:
            if viewer.is_drained:
                viewer.write(frame)
            else:
                slow.append(viewer)
        for viewer in slow:
            viewer.fall_behind(before, self.sent_at)
        self.sent_at = now
        self.current.difference_update(slow)
        self.behind.update(slow)

    def stalled(self, now: float, seconds: float) -> list[Viewer]:
        """Viewers that have taken no byte for this long."""
        return [viewer for viewer in self.behind if viewer.stalled_seconds(now) >= seconds]

    def catch_up(self, now: float) -> bool:
        """Send drained viewers what they miss; True if some of them need a new snapshot."""
        needs_fleet = False
        for viewer in [viewer for viewer in self.behind if viewer.is_drained]:
            frames = self._missing(viewer.sequence)
            if frames is None:
                needs_fleet = True
                continue
            viewer.write_all(frames)
            viewer.fall_behind(self.sequence, now)
            if viewer.is_drained:
                self.behind.discard(viewer)
                self.current.add(viewer)
        return needs_fleet

    def _missing(self, sequence: int) -> list[bytes] | None:
        """The frames after `sequence`, or None if they are gone."""
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


def narrow(document: dict[str, Any], names: HostNames | None) -> dict[str, Any]:
    """A document or patch with only these hosts; None means all of them."""
    hosts = document.get("hosts")
    if names is None or hosts is None:
        return document
    return {**document, "hosts": {name: hosts[name] for name in names if name in hosts}}
