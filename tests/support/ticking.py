"""A fleet and its published document on one clock, for tests."""

import copy
from typing import Any

from gpu_monitor.broker.document import Published
from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.ingest import Ingest
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.wire.changes import open_message, read_changes
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.patch import merge
from tests.support.snapshots import make_snapshot

WALL = 1_700_000_000.0
QUIET: dict[str, int] = {}


class Broker:
    """Fleet and document on one clock; `followed` is a subscriber's copy of the document."""

    def __init__(self, **keys: Any) -> None:
        settings = BrokerSettings(**keys)
        self.fleet = Fleet(settings.hosts, settings.rpc_timeout, settings.forget_after)
        self.published = Published(settings, self.fleet, WALL)
        self.followed = copy.deepcopy(self.published.document)
        self.sequence = 0
        self._ingest = Ingest(self.fleet, Directory(()), lambda: None)

    def hear(self, at: float, name: str = "node1", **members: Any) -> None:
        self.sequence += 1
        clocks = {"sampled_boottime": at, "sampled_at": WALL + at}
        message = make_snapshot(name, self.sequence, **{**clocks, **members})
        changes = read_changes(open_message(pack(message)), self.fleet.last(name))
        self.fleet.accept(name, changes, at, WALL + at, "10.0.0.1")

    def tell(self, at: float, name: str = "node1", **members: Any) -> None:
        """Like `hear`, but packed: after the first message only differences are decoded."""
        self.sequence += 1
        clocks = {"sampled_boottime": at, "sampled_at": WALL + at}
        message = make_snapshot(name, self.sequence, **{**clocks, **members})
        self._ingest.ingest(pack(message), "127.0.0.1", at)

    def tick(
        self, at: float, refused: dict[str, int] = QUIET, load: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self.fleet.mark_stale(at)
        patch = self.published.advance(at, WALL + at, refused, load)
        self.followed = merge(self.followed, copy.deepcopy(patch))
        assert self.followed == self.published.document
        return patch

    def live(self, name: str = "node1", **members: Any) -> None:
        """Receive two snapshots, at 0 and 1, and publish."""
        self.hear(0.0, name, **members)
        self.hear(1.0, name, **members)
        self.tick(1.0)
