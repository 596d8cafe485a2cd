"""Names of users and their groups, without waiting for a name service that hangs."""

import grp
import pwd
from collections.abc import Callable
from concurrent.futures import Future

from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.wire.slow_lookup import answered, slow_lookup, wait_for

USER_NAME_SECONDS = 600.0
UNKNOWN_USER_SECONDS = 60.0
"""How long the name service's answer counts: a name, and that it knows no such user or failed."""
USER_LOOKUP_PATIENCE = 0.05
"""Seconds that a sample waits for a name."""
MAX_USERS = 1024


def user_name(uid: int) -> str | None:
    """The name service's answer (getpwuid), which may be an LDAP server's; None for no such user.

    Blocks for as long as the name service does.
    """
    try:
        return clean(pwd.getpwuid(uid).pw_name) or None
    except (KeyError, OverflowError):
        return None


def primary_group(uid: int) -> str | None:
    """The name of the user's primary group (getpwuid, getgrgid); None where there is none.

    Blocks for as long as the name service does.
    """
    try:
        return clean(grp.getgrgid(pwd.getpwuid(uid).pw_gid).gr_name) or None
    except (KeyError, OverflowError):
        return None


class _Lookups:
    """uid -> the name service's answer, one lookup at a time; for one thread.

    `subject` is what is looked up, `patience` (seconds) how long `resolve` waits for an answer.
    While the name service does not answer, its last answer is used.
    """

    def __init__(
        self,
        subject: str,
        look_up: Callable[[int], str | None],
        patience: float,
        guard: SourceGuard,
    ) -> None:
        self._subject = subject
        self._look_up = look_up
        self._patience = patience
        self._guard = guard
        self._names: dict[int, tuple[str | None, float]] = {}
        self._lookup: Future[None] = answered(None)

    def resolve(self, uid: int, now: float) -> str | None:
        """The name; None while it is not known. `now` in monotonic seconds."""
        known = self._names.get(uid)
        if (known is None or now >= known[1]) and self._lookup.done():
            name = f"{self._subject}-{uid}".replace(" ", "-")
            self._lookup = slow_lookup(self._learn, uid, now, thread_name=name)
            wait_for(self._lookup, self._patience)
            known = self._names.get(uid)
        return (known and known[0]) or None

    def is_nameless(self, uid: int) -> bool:
        """Whether the name service has answered that it knows no such user."""
        known = self._names.get(uid)
        return known is not None and known[0] is None

    def _learn(self, uid: int, now: float) -> None:
        """Keep the answer; where the name service has failed, the last one, or "" for none."""
        before = self._names.get(uid, ("", 0.0))[0]
        answer = self._guard.attempt(self._subject, lambda: (self._look_up(uid),), None)
        name = before if answer is None else answer[0]
        if len(self._names) >= MAX_USERS:
            self._names.clear()
        seconds = USER_NAME_SECONDS if answer is not None and name else UNKNOWN_USER_SECONDS
        self._names[uid] = (name, now + seconds)


class UserNames:
    """uid -> the names of the user and of the user's primary group; for one thread.

    They are looked up apart, so that a group that takes long delays no user's name.
    """

    def __init__(
        self,
        look_up: Callable[[int], str | None] = user_name,
        patience: float = USER_LOOKUP_PATIENCE,
        guard: SourceGuard | None = None,
        look_up_group: Callable[[int], str | None] = primary_group,
    ) -> None:
        guard = guard or SourceGuard()
        self._users = _Lookups("user names", look_up, patience, guard)
        self._groups = _Lookups("group names", look_up_group, patience, guard)

    def resolve(self, uid: int, now: float) -> str:
        """The user's name, or `uid 1234` while it is not known; `now` in monotonic seconds."""
        return self._users.resolve(uid, now) or f"uid {uid}"

    def group(self, uid: int, now: float) -> str | None:
        """The name of the user's primary group; None while it is not known."""
        return self._groups.resolve(uid, now)

    def is_nameless(self, uid: int) -> bool:
        """Whether the name service has answered that it knows no such user."""
        return self._users.is_nameless(uid)
