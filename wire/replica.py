"""A replica of the broker's document, kept up to date by pictures and patches; pure."""

from collections import deque
from typing import Any, TypeAlias

from gpu_monitor.wire.document import VERSION
from gpu_monitor.wire.fleet_check import check_fleet
from gpu_monitor.wire.patch import compare, merge
from gpu_monitor.wire.update import Update, UpdateError

Document: TypeAlias = dict[str, Any]
Patch: TypeAlias = dict[str, Any]

PICTURE_RETRY_SECONDS = 2.0
_EARLY_PATCHES = 16


class Replica:
    """`document` is what viewers receive: the broker's, with `web` and the state of the link.

    A document is never changed in place: a new one shares what a patch did not name, so that
    another thread may still encode an older one. Each method that changes it returns the patch
    with the same effect for viewers, or None if nothing changed. All times are in seconds of one
    clock that keeps running during suspend.
    """

    def __init__(self, web: dict[str, Any], rpc_timeout: float, now: float) -> None:
        self.document: Document = {
            "version": VERSION,
            "stale_after_seconds": rpc_timeout,
            "broker": {"state": "lost"},
            "web": web,
            "totals": {},
            "users": {},
            "hosts": {},
        }
        self.lost = True
        self.refusal = ""
        """Why the broker's picture could not be used; empty if it could."""
        self.malformed = 0
        """Messages that were no updates, or none that a document can hold."""
        self._rpc_timeout = rpc_timeout
        self._updated_at = now
        self._requested_at: float | None = None
        self._synced = False
        self._run_id = ""
        self._sequence = 0
        self._early: deque[Update] = deque(maxlen=_EARLY_PATCHES)

    @property
    def ever_synced(self) -> bool:
        """Whether any picture has been applied."""
        return self._run_id != ""

    def silent_seconds(self, now: float) -> float:
        """Time since an update was applied; before the first one, since the start."""
        return now - self._updated_at

    def is_silent(self, now: float) -> bool:
        """Whether no update has been applied for `rpc_timeout`."""
        return self.silent_seconds(now) > self._rpc_timeout

    def needs_picture(self, now: float) -> bool:
        """Whether to request the broker's picture, unless that was done just now."""
        if self._synced:
            return False
        requested_at = self._requested_at
        return requested_at is None or now - requested_at >= PICTURE_RETRY_SECONDS

    def note_request(self, now: float) -> None:
        """A picture has been requested."""
        self._requested_at = now

    def apply_patch(self, update: Update, now: float) -> Patch | None:
        """Applies the next patch; after any other one a picture is needed.

        Raises UpdateError for a patch after which the document would not be one; then, too.
        """
        if not self._synced:
            self._early.append(update)
            return None
        same_run = update["run_id"] == self._run_id
        if same_run and update["sequence"] <= self._sequence:
            return None
        if not same_run or update["sequence"] != self._sequence + 1:
            self._lose_sync()
            self._early.append(update)
            return None
        patch: Patch = update["patch"]
        try:
            document = self._patched(self.document, patch)
        except UpdateError:
            self._lose_sync()
            raise
        self._sequence = update["sequence"]
        self._updated_at = now
        self.document = document
        return patch

    def apply_picture(self, update: Update, now: float) -> Patch | None:
        """Replaces the document by the broker's; the patch holds only what differs.

        Raises UpdateError for what is not a document; nothing changes then.
        """
        fleet: Document = update["fleet"]
        version = fleet.get("version")
        if type(version) is int and version != VERSION:
            self.refusal = f"the broker speaks version {version}, this is {VERSION}"
            return None
        new: Document = merge({}, {**fleet, "web": self.document["web"]})
        check_fleet(new, new)
        run_id, sequence = update["run_id"], update["sequence"]
        early, self._early = self._early, deque(maxlen=_EARLY_PATCHES)
        for next_one in early:
            if next_one["run_id"] == run_id and next_one["sequence"] == sequence + 1:
                new = self._patched(new, next_one["patch"])
                sequence += 1
        self._run_id, self._sequence = run_id, sequence
        self._synced, self._requested_at = True, None
        self._updated_at = now
        self.lost, self.refusal = False, ""
        patch = compare(self.document, new)
        self.document = new
        return patch

    def mark_lost(self, now: float) -> Patch | None:
        """Marks the broker as lost once it has been silent for `rpc_timeout`.

        Only a picture requested after that ends the loss: patches that were on their way during an
        interruption would show the past as live.
        """
        if self.lost or not self.is_silent(now):
            return None
        self.lost = True
        self._lose_sync()
        return self._apply({"broker": {"state": "lost", "heard_at": self.document["now"]}})

    @staticmethod
    def _patched(document: Document, patch: Patch) -> Document:
        """The document after a patch of the broker, which may not concern this web server."""
        if "web" in patch:
            raise UpdateError("it changes web")
        patched: Document = merge(document, patch)
        check_fleet(patched, patch)
        return patched

    def _apply(self, patch: Patch) -> Patch:
        self.document = merge(self.document, patch)
        return patch

    def _lose_sync(self) -> None:
        self._synced, self._requested_at = False, None
        self._early.clear()
