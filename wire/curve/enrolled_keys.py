"""Whose keys are let in, as the folder of keys says now."""

import logging
import os
from collections.abc import Iterable

from gpu_monitor.wire.curve import keys
from gpu_monitor.wire.curve.keys import HOSTS, PUBLIC_ENDING, WEBS, KeysError
from gpu_monitor.wire.limits import is_host_name

LOOK_SECONDS = 1.0
LOOK_AT_ALL_SECONDS = 3.0
"""A file that comes or goes changes its folder, one that is written in place only itself."""

log = logging.getLogger(__name__)


class Enrolled:
    """The names that keys were issued for, by public key.

    Whoever has the broker's own key is on the broker's machine: as a host it is `own_name`,
    unless its key is enrolled under another name. A file that is broken lets nobody in; it is
    said once, and the others are as they were.
    """

    def __init__(self, folder: str, own_name: str) -> None:
        """KeysError when the broker's own pair cannot be read."""
        self.own = keys.own_pair(folder)
        self._folder = folder
        self._own_name = own_name
        self._own_stamp = keys.stamp(os.path.join(folder, keys.OWN_SECRET))
        self._kinds = {HOSTS: _Kind(folder, HOSTS), WEBS: _Kind(folder, WEBS)}
        self._next_look = self._next_look_at_all = float("-inf")
        self.look(float("-inf"))

    def look(self, now: float) -> bool:
        """Reads what has changed in the folder, not too often; whether anybody came or went.

        `now` is any steady clock in seconds.
        """
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        everything = now >= self._next_look_at_all
        if everything:
            self._next_look_at_all = now + LOOK_AT_ALL_SECONDS
            self._look_at_own()
        return any([kind.look(everything) for kind in self._kinds.values()])

    def names(self, kind: str) -> Iterable[str]:
        """Everyone that is enrolled as that kind."""
        return self._kinds[kind].names.values()

    def name(self, kind: str, public: str) -> str | None:
        """The name that this key was issued for; None: it is not let in."""
        name = self._kinds[kind].names.get(public)
        if name is None and public == self.own.public:
            return self._own_name or None
        return name

    def _look_at_own(self) -> None:
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


class _Kind:
    """One folder of public keys: hosts, or webs."""

    def __init__(self, folder: str, kind: str) -> None:
        self.names: dict[str, str] = {}
        self._folder = folder
        self._kind = kind
        self._stamp: keys.Stamp | None = None
        self._stamps: dict[str, keys.Stamp] = {}
        self._keys: dict[str, str] = {}
        """By name; empty for a file that cannot be used."""
        self._said: set[str] = set()

    def look(self, everything: bool) -> bool:
        """Whether anybody came or went. The folder alone is looked at, or everything in it."""
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
        self._say(names, problems)
        changed, self.names = names != self.names, names
        return changed

    def _read(self, stamps: dict[str, keys.Stamp], problems: list[str]) -> dict[str, str]:
        """Names by key, of the files as they are now; those that have not changed are known."""
        keys: dict[str, str] = {}
        names: dict[str, str] = {}
        for name in sorted(stamps):
            known = self._keys[name] if self._stamps.get(name) == stamps[name] else ""
            public = keys[name] = known or self._key(name, problems)
            if public and names.setdefault(public, name) != name:
                words = "is passed over: it has the key of"
                problems.append(f"{self._file(name)}: {words} {names[public]}")
        self._keys, self._stamps = keys, stamps
        return names

    def _key(self, name: str, problems: list[str]) -> str:
        if not is_host_name(name):
            problems.append(f"{self._file(name)!a}: is named after no host; rename it")
            return ""
        try:
            return keys.public_key(self._folder, os.path.join(self._kind, name + PUBLIC_ENDING))
        except keys.Missing:  # taken away just now
            return ""
        except KeysError as error:
            problems.append(str(error))
            return ""

    def _file(self, name: str) -> str:
        return os.path.join(self._folder, self._kind, name + PUBLIC_ENDING)

    def _say(self, names: dict[str, str], problems: list[str]) -> None:
        """Each problem once as long as it lasts; who came and who went."""
        for problem in problems:
            if problem not in self._said:
                log.warning("%s", problem)
        self._said = set(problems)
        before, now = set(self.names.values()), set(names.values())
        renewed = {
            name
            for public, name in names.items()
            if name in before and self.names.get(public) != name
        }
        for words, which in (
            ("let in: %s", now - before),
            ("no longer let in: %s", before - now),
            ("let in by another key: %s", renewed),
        ):
            if which:
                log.info(words, _listed(self._kind, which))


def _listed(kind: str, names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = len(names) - len(shown)
    return f"{kind} " + ", ".join(shown) + (f" and {more} more" if more else "")
