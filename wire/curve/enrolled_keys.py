"""Whose keys are enrolled, as the folder of keys says now."""

import logging
import os
from collections.abc import Iterable

from gpu_monitor.wire.curve import keys
from gpu_monitor.wire.curve.keys import HOSTS, PUBLIC_ENDING, WEBS, KeysError
from gpu_monitor.wire.limits import is_host_name

POLLS_PER_FULL_POLL = 3
"""A new or removed file changes its folder; one that is overwritten changes only itself."""

log = logging.getLogger(__name__)


class EnrolledKeys:
    """The names that keys were issued for, by public key.

    A peer with the broker's own key is on the broker's machine: as a host it is `own_name`, unless
    that key is enrolled under another name. A broken file admits no peer; it is logged once, and
    the other files stay in force.
    """

    def __init__(self, folder: str, own_name: str, poll_seconds: float = 1.0) -> None:
        """Raises KeysError if the broker's own key pair cannot be read."""
        self.own = keys.own_pair(folder)
        self._folder = folder
        self._own_name = own_name
        self._poll_seconds = poll_seconds
        self._own_stamp = keys.stamp(os.path.join(folder, keys.OWN_SECRET))
        self._kinds = {HOSTS: _KeyFolder(folder, HOSTS), WEBS: _KeyFolder(folder, WEBS)}
        self._next_poll = self._next_full_poll = float("-inf")
        self.poll(float("-inf"))

    def poll(self, now: float) -> bool:
        """Reads what has changed in the folder, not too often; whether any name or key changed.

        `now` is any steady clock in seconds.
        """
        if now < self._next_poll:
            return False
        self._next_poll = now + self._poll_seconds
        everything = now >= self._next_full_poll
        if everything:
            self._next_full_poll = now + POLLS_PER_FULL_POLL * self._poll_seconds
            self._check_own()
        return any([kind.poll(everything) for kind in self._kinds.values()])

    def names(self, kind: str) -> Iterable[str]:
        """All names enrolled as this kind (HOSTS or WEBS)."""
        return self._kinds[kind].names.values()

    def name_of(self, kind: str, public: str) -> str | None:
        """The name that this key was issued for; None if it is not enrolled."""
        name = self._kinds[kind].names.get(public)
        if name is None and public == self.own.public:
            return self._own_name or None
        return name

    def _check_own(self) -> None:
        stamp = keys.stamp(os.path.join(self._folder, keys.OWN_SECRET))
        if stamp != self._own_stamp:
            self._own_stamp = stamp
            try:
                changed = keys.own_pair(self._folder) != self.own
            except KeysError as error:
                log.warning("%s", error)
            else:
                if changed:
                    log.warning("the broker's own key has changed; restart the broker to use it")


class _KeyFolder:
    """One folder of public keys: hosts, or webs."""

    def __init__(self, folder: str, kind: str) -> None:
        self.names: dict[str, str] = {}
        self._folder = folder
        self._kind = kind
        self._stamp: keys.Stamp | None = None
        self._stamps: dict[str, keys.Stamp] = {}
        self._keys: dict[str, str] = {}
        """By name; empty for a file that cannot be used."""
        self._logged: set[str] = set()

    def poll(self, everything: bool) -> bool:
        """Reads the folder, with `everything` also its files; whether any name or key changed."""
        stamp = keys.stamp(os.path.join(self._folder, self._kind))
        if stamp == self._stamp and not everything:
            return False
        self._stamp = stamp
        problems: list[str] = []
        stamps: dict[str, keys.Stamp] = {}
        try:
            stamps = keys.stamps(self._folder, self._kind)
        except KeysError as error:
            problems.append(str(error))
        if stamps == self._stamps and not problems and all(self._keys.values()):
            return False
        names = self._read(stamps, problems)
        self._log(names, problems)
        changed, self.names = names != self.names, names
        return changed

    def _read(self, stamps: dict[str, keys.Stamp], problems: list[str]) -> dict[str, str]:
        """Names by key; reads only files that have changed."""
        keys: dict[str, str] = {}
        names: dict[str, str] = {}
        for name in sorted(stamps):
            known = self._keys[name] if self._stamps.get(name) == stamps[name] else ""
            public = keys[name] = known or self._key(name, problems)
            if public and names.setdefault(public, name) != name:
                words = "ignored: it holds the key of"
                problems.append(f"{self._file(name)}: {words} {names[public]}")
        self._keys, self._stamps = keys, stamps
        return names

    def _key(self, name: str, problems: list[str]) -> str:
        if not is_host_name(name):
            problems.append(f"{self._file(name)!a}: its name is not a host name; rename it")
            return ""
        try:
            return keys.public_key(self._folder, os.path.join(self._kind, name + PUBLIC_ENDING))
        except keys.Missing:  # removed in the meantime
            return ""
        except KeysError as error:
            problems.append(str(error))
            return ""

    def _file(self, name: str) -> str:
        return os.path.join(self._folder, self._kind, name + PUBLIC_ENDING)

    def _log(self, names: dict[str, str], problems: list[str]) -> None:
        """Logs each problem once while it lasts, and which names were enrolled or revoked."""
        for problem in problems:
            if problem not in self._logged:
                log.warning("%s", problem)
        self._logged = set(problems)
        before, now = set(self.names.values()), set(names.values())
        renewed = {
            name
            for public, name in names.items()
            if name in before and self.names.get(public) != name
        }
        for words, which in (
            ("enrolled: %s", now - before),
            ("revoked: %s", before - now),
            ("enrolled with another key: %s", renewed),
        ):
            if which:
                log.info(words, _listed(self._kind, which))


def _listed(kind: str, names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = len(names) - len(shown)
    return f"{kind} " + ", ".join(shown) + (f" and {more} more" if more else "")
