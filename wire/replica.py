"""The broker's document, kept up by pictures and patches; pure, with the time handed in."""

from collections import deque
from typing import Any, TypeAlias

from gpu_monitor.wire.document import VERSION
from gpu_monitor.wire.patch import compare, merge

Document: TypeAlias = dict[str, Any]
Patch: TypeAlias = dict[str, Any]
Update: TypeAlias = dict[str, Any]
"""A message of the broker: run_id, sequence, and patch or fleet."""

ASK_AGAIN_SECONDS = 2.0
_EARLY_PATCHES = 16


class Following:
    """`document` is what viewers are shown: the broker's, with `web` and the state of the link.

    A document is never changed in place: a new one shares what a patch did not name, so that
    another thread may still encode an older one. Each method that changes it returns the patch
    that does the same for viewers, or None where there is nothing to tell. All times are
    seconds of one clock that runs on through suspend.
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
        """Why a picture of the broker could not be used; empty when it could."""
        self._rpc_timeout = rpc_timeout
        self._heard_at = now
        self._asked_at: float | None = None
        self._synced = False
        self._run_id = ""
        self._sequence = 0
        self._early: deque[Update] = deque(maxlen=_EARLY_PATCHES)

    @property
    def ever_heard(self) -> bool:
        """Whether there was a picture at all."""
        return self._run_id != ""

    def silent_seconds(self, now: float) -> float:
        """Time since an update was taken over; before the first one, since the start."""
        return now - self._heard_at

    def is_silent(self, now: float) -> bool:
        """Whether nothing was taken over for `rpc_timeout`."""
        return self.silent_seconds(now) > self._rpc_timeout

    def wants_picture(self, now: float) -> bool:
        """Whether to ask the broker for the whole picture, and not just asked."""
        if self._synced:
            return False
        return self._asked_at is None or now - self._asked_at >= ASK_AGAIN_SECONDS

    def asked(self, now: float) -> None:
        """A picture has been asked for."""
        self._asked_at = now

    def hear_patch(self, update: Update, now: float) -> Patch | None:
        """The next patch is taken over; on any other one a picture is wanted."""
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
        self._sequence = update["sequence"]
        self._heard_at = now
        patch: Patch = update["patch"]
        self.document = merge(self.document, patch)
        return patch

    def hear_picture(self, update: Update, now: float) -> Patch | None:
        """The broker's whole document replaces ours; viewers are told only what differs."""
        fleet: Document = update["fleet"]
        if fleet.get("version") != VERSION:
            self.refusal = f"the broker speaks version {fleet.get('version')}, this is {VERSION}"
            return None
        new: Document = {**fleet, "web": self.document["web"]}
        self._run_id, self._sequence = update["run_id"], update["sequence"]
        for early in self._early:
            if early["run_id"] == self._run_id and early["sequence"] == self._sequence + 1:
                new = merge(new, early["patch"])
                self._sequence += 1
        self._early.clear()
        self._synced, self._asked_at = True, None
        self._heard_at = now
        self.lost, self.refusal = False, ""
        patch = compare(self.document, new)
        self.document = new
        return patch

    def look(self, now: float) -> Patch | None:
        """The patch that says the broker is lost, once it has been silent for `rpc_timeout`.

        Only a picture asked for after that ends the loss: patches that were on their way
        through a cut would show the past as live.
        """
        if self.lost or not self.is_silent(now):
            return None
        self.lost = True
        self._lose_sync()
        return self._tell({"broker": {"state": "lost", "heard_at": self.document["now"]}})

    def _tell(self, patch: Patch) -> Patch:
        self.document = merge(self.document, patch)
        return patch

    def _lose_sync(self) -> None:
        self._synced, self._asked_at = False, None
        self._early.clear()
