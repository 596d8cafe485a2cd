"""User names by NSS, so that LDAP users have theirs; a name service that hangs stops nobody."""

import pwd
import threading
from collections.abc import Callable

from gpu_monitor.collector.host.command_line import clean

KEPT_SECONDS = 600.0
UNKNOWN_KEPT_SECONDS = 60.0
PATIENCE_SECONDS = 0.05
MAX_USERS = 1024


def name_of(uid: int) -> str | None:
    """The name service's answer for `uid` (getpwuid); None when it knows no such user."""
    try:
        return clean(pwd.getpwuid(uid).pw_name) or None
    except (KeyError, OverflowError):
        return None


class Users:
    """uid -> name, remembered for ten minutes.

    Lookups run one at a time in a thread of their own: while the name service is silent the last
    known answer stands, `uid 1234` where there is none.
    """

    def __init__(self, look_up: Callable[[int], str | None] = name_of) -> None:
        self._look_up = look_up
        self._names: dict[int, tuple[str | None, float]] = {}
        self._answered = threading.Event()
        self._answered.set()

    def name(self, uid: int, now: float) -> str:
        """The user's name, or `uid 1234` while it is not known; `now` in monotonic seconds."""
        known = self._names.get(uid)
        if (known is None or now >= known[1]) and self._answered.is_set():
            self._answered.clear()
            threading.Thread(
                target=self._ask, args=(uid, now), name=f"user-{uid}", daemon=True
            ).start()
            self._answered.wait(PATIENCE_SECONDS)
            known = self._names.get(uid)
        return known[0] if known is not None and known[0] is not None else f"uid {uid}"

    def is_nameless(self, uid: int) -> bool:
        """Whether the name service has said that it knows no such user."""
        known = self._names.get(uid)
        return known is not None and known[0] is None

    def _ask(self, uid: int, now: float) -> None:
        try:
            name = self._look_up(uid)
            if len(self._names) >= MAX_USERS:
                self._names.clear()
            kept = UNKNOWN_KEPT_SECONDS if name is None else KEPT_SECONDS
            self._names[uid] = (name, now + kept)
        finally:
            self._answered.set()
