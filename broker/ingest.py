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
    """Counts what is refused. Each pair of reason and peer is logged once an hour at most."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._logged: dict[tuple[str, str], float] = {}

    def add(self, reason: str, peer: str, detail: str, now: float) -> None:
        """`now` is any steady clock in seconds."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        key = (reason, peer)
        logged_at = self._logged.get(key)
        if logged_at is not None and now - logged_at < _LOG_AGAIN_SECONDS:
            return
        if logged_at is None and len(self._logged) >= _MAX_LOGGED:
            return
        self._logged[key] = now
        log.warning("refused a message from %s: %s (%s)", peer, reason, ascii(detail)[1:-1])
        if logged_at is None and len(self._logged) == _MAX_LOGGED:
            log.warning("further refusals are only counted, see broker.refused")


class Hearing:
    """Tells a fleet what peers say. A peer is its address, with its key where there are keys, or
    empty inside this process."""

    def __init__(self, fleet: Fleet, directory: Directory, unknown: Callable[[], object]) -> None:
        """`unknown` is called when a peer is refused for its address: perhaps a name has moved."""
        self.refusals = Refusals()
        self._fleet = fleet
        self._directory = directory
        self._unknown = unknown

    def admits(self, peer: str, now: float) -> bool:
        """Whether anyone at this address or with this key may report; a refusal is counted.

        `now` as in `hear`.
        """
        if not peer or self._directory.entries(peer):
            return True
        if self._directory.keyed:
            self.refusals.add(UNKNOWN_KEY, peer, "it has been revoked", now)
            return False
        self._unknown()
        why = "no entry of hosts has this address; a host behind NAT needs keys"
        self.refusals.add(UNKNOWN_HOST, peer, why, now)
        return False

    def host(self, peer: str, sent: str) -> str:
        """The name in the document for what an admitted peer sends as `sent`; empty when that is
        not known and more than one may be meant."""
        if not peer:
            return self._directory.own_name(sent)
        entries = self._directory.entries(peer)
        if not sent and len(entries) > 1:
            return ""
        return choose(entries, sent) or ""

    def hear(self, data: bytes, host: str, peer: str, received: float) -> None:
        """Takes in a message of an admitted peer; `received` is the boot clock at its arrival.

        `host` is whose it seems to be; empty when nobody can tell before it is unpacked.
        """
        try:
            reason = self._hear(data, peer, received)
            detail = "a sample that is not shown"
        except WireError as error:
            reason, detail = error.reason, str(error)
        if reason is not None:
            self.refusals.add(reason, peer or INSIDE, detail, received)

    def _hear(self, data: bytes, peer: str, received: float) -> str | None:
        message = open_message(data)
        name = self.host(peer, message.body.name)
        if not name:  # a key may have been revoked, or a name have moved, while it waited
            reason = UNKNOWN_KEY if self._directory.keyed else UNKNOWN_HOST
            raise WireError(reason, "it was let in, and is no longer")
        changes = read_changes(message, self._fleet.previous(name))
        return self._fleet.hear(name, changes, received, time.time(), peer or INSIDE)


def name_in(data: bytes) -> str:
    """The name that a packed snapshot seems to hold, found without unpacking; else empty.

    A guess for choosing what to compare the message with: nothing is believed because of it.
    """
    at = data.find(_NAME_KEY, 0, _NAME_WITHIN) + len(_NAME_KEY)
    if at < len(_NAME_KEY) or at + 1 >= len(data):
        return ""
    size = data[at] & 31 if data[at] >> 5 == 5 else data[at + 1]
    at += 1 if data[at] >> 5 == 5 else 2
    return data[at : at + size].decode("ascii", "replace")
