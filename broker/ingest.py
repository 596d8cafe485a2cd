"""A peer's message becomes the state of a host, or a refusal counted by its reason."""

import logging
import time
from collections.abc import Callable

from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.peer_identity import Directory, choose
from gpu_monitor.wire.changes import open_message, read_changes
from gpu_monitor.wire.curve.server import UNKNOWN_KEY
from gpu_monitor.wire.limits import WireError

INSIDE = "this process"
UNKNOWN_HOST = "unknown host"
_NAME_KEY = b"\xa4name"
_NAME_WITHIN = 64
_MAX_LOGGED = 256
_LOG_AGAIN_SECONDS = 3600.0

log = logging.getLogger(__name__)


class Refusals:
    """Counts refused messages. Each pair of reason and peer is logged at most once an hour.

    At most 256 peers are logged per reason and hour, so that neither the log nor the table fills:
    strangers in large numbers silence only the lines about other strangers.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._logged: dict[str, dict[str, float]] = {}
        """By reason, when each peer was last logged, oldest first."""

    def add(self, reason: str, peer: str, detail: str, now: float) -> None:
        """`now` is any steady clock in seconds."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        logged = self._logged.setdefault(reason, {})
        while logged and now - next(iter(logged.values())) >= _LOG_AGAIN_SECONDS:
            del logged[next(iter(logged))]
        if peer in logged or len(logged) > _MAX_LOGGED:
            return
        if len(logged) == _MAX_LOGGED:
            logged[""] = now  # stands for all others, until the hour is over
            log.warning("further refusals (%s) are only counted, see broker.refused", reason)
            return
        logged[peer] = now
        log.warning("refused a message from %s: %s (%s)", peer, reason, ascii(detail)[1:-1])


class Ingest:
    """Applies the messages of peers to a fleet.

    A peer is an address, with its key where keys are used; empty inside this process.
    """

    def __init__(
        self, fleet: Fleet, directory: Directory, on_unknown: Callable[[], object]
    ) -> None:
        """`on_unknown` is called when an address is refused: a host may have a new address."""
        self.refusals = Refusals()
        self._fleet = fleet
        self._directory = directory
        self._on_unknown = on_unknown

    def admits(self, peer: str, now: float) -> bool:
        """Whether this peer may report for any host; if not, counts a refusal.

        `now` is the boot clock in seconds.
        """
        if not peer or self._directory.entries(peer):
            return True
        if self._directory.keyed:
            self.refusals.add(UNKNOWN_KEY, peer, "it has been revoked", now)
            return False
        self._on_unknown()
        why = "no entry of hosts has this address; a host behind NAT needs keys"
        self.refusals.add(UNKNOWN_HOST, peer, why, now)
        return False

    def host_of(self, peer: str, sent: str) -> str:
        """The document's name for the host that an admitted peer calls `sent`.

        Empty if the peer may report for several hosts and `sent` is empty.
        """
        if not peer:
            return self._directory.own_name(sent)
        entries = self._directory.entries(peer)
        if not sent and len(entries) > 1:
            return ""
        return choose(entries, sent) or ""

    def ingest(self, data: bytes, peer: str, received: float) -> None:
        """Applies a message of an admitted peer, or counts its refusal.

        `received` is the boot clock in seconds when the message arrived.
        """
        try:
            reason = self._apply(data, peer, received)
            detail = "a sample that is not shown"
        except WireError as error:
            reason, detail = error.reason, str(error)
        if reason is not None:
            self.refusals.add(reason, peer or INSIDE, detail, received)

    def _apply(self, data: bytes, peer: str, received: float) -> str | None:
        message = open_message(data)
        name = self.host_of(peer, message.body.name)
        if not name:  # while it waited, its key was revoked or its name given another address
            reason = UNKNOWN_KEY if self._directory.keyed else UNKNOWN_HOST
            raise WireError(reason, "no longer admitted")
        changes = read_changes(message, self._fleet.last(name))
        return self._fleet.accept(name, changes, received, time.time(), peer or INSIDE)


def name_in(data: bytes) -> str:
    """The name that a packed snapshot appears to hold, without unpacking it; else empty.

    A guess that only decides which waiting message this one replaces.
    """
    at = data.find(_NAME_KEY, 0, _NAME_WITHIN) + len(_NAME_KEY)
    if at < len(_NAME_KEY) or at + 1 >= len(data):
        return ""
    size = data[at] & 31 if data[at] >> 5 == 5 else data[at + 1]
    at += 1 if data[at] >> 5 == 5 else 2
    return data[at : at + size].decode("ascii", "replace")
