"""Viewers that are sent the same bytes: each frame built once, the slow ones caught up."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from gpu_monitor.web.auth.redaction import see
from gpu_monitor.web.settings import Role
from gpu_monitor.web.stream.encodings import Encoding
from gpu_monitor.web.stream.viewer import Viewer
from gpu_monitor.wire.replica import Document, Patch

Names: TypeAlias = frozenset[str]

_RECENT_FRAMES = 4


class Group:
    """Viewers with the same encoding, hosts and role: they are sent the same bytes.

    `recent` holds the latest patch frames, the last one of sequence `sequence`: who misses no
    more than these is sent them; who misses more, a fleet frame and what came after it. `cut`
    is called for who takes nothing.
    """

    def __init__(
        self,
        encoding: Encoding,
        names: Names | None,
        role: Role,
        sequence: int,
        now: float,
        cut: Callable[[Viewer], None],
    ) -> None:
        self.encoding = encoding
        self.names = names
        self.role: Role = role
        self.sequence = sequence
        self._cut = cut
        self.current: set[Viewer] = set()
        self.behind: set[Viewer] = set()
        self.sent_at = now
        self.recent: deque[bytes] = deque()
        self.fleet: tuple[int, bytes] | None = None
        self.building: tuple[int, asyncio.Task[None]] | None = None

    def fleet_frame(self, sequence: int, document: Document) -> bytes:
        """The whole document as of patch `sequence`; slow for a large fleet: for a thread."""
        fleet = see(narrow(document, self.names), self.role)
        return self.encoding.frame({"type": "fleet", "sequence": sequence, "fleet": fleet})

    def send(self, patch: Patch, now: float) -> None:
        """The next patch, as the role sees it, to everyone whose buffer is empty.

        The others fall behind.
        """
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
                self._cut(viewer)
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


def narrow(document: dict[str, Any], names: Names | None) -> dict[str, Any]:
    """A document or a patch with only these hosts; None means all of them."""
    hosts = document.get("hosts")
    if names is None or hosts is None:
        return document
    return {**document, "hosts": {name: hosts[name] for name in names if name in hosts}}
