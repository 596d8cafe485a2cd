"""The viewers' file: who may sign in, a line each, read again when it changes."""

import logging
import os
import re
import stat
from collections.abc import Iterable
from typing import get_args

from gpu_monitor.web.auth import hashing
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.settings import Role

LOG = logging.getLogger(__name__)

ROLES: tuple[Role, ...] = get_args(Role)
MAX_BYTES = 4 << 20
_NAME = re.compile(r"[^\s:#][^\s:]{0,127}")
_GONE_LOOKS = 2
"""An editor may take a file away for a moment: gone is what is gone twice."""


class AccountsError(Exception):
    """A viewers' file that cannot be used: which one, what is wrong with it, what to do."""


class WrongLine(ValueError):
    """A line that names no viewer; the words say why."""


def is_name(name: str) -> bool:
    """Whether `name` may stand in the file: printable, without blanks and colons."""
    return name.isprintable() and _NAME.fullmatch(name) is not None


def role_of(word: str) -> Role | None:
    """The role of that name."""
    roles: dict[str, Role] = {role: role for role in ROLES}
    return roles.get(word)


def parse_line(line: str) -> Person | None:
    """The viewer of a line; None for an empty one or a comment, WrongLine for any other."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    if len(words) != 3:
        raise WrongLine(f"{len(words)} words stand here; a line is a name, a role and a hash")
    name, role, hashed = words
    if not is_name(name):
        raise WrongLine(f"{name[:40]!r} is no name; write one without ':'")
    known = role_of(role)
    if known is None:
        raise WrongLine(f"{role[:20]!r} is no role; write {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    if hashing.kind_of(hashed) is None:
        raise WrongLine(f"the hash of {name} is broken; remove and add the viewer again")
    return Person(name, known, hashed)


def parse(text: str) -> tuple[list[Person], list[str]]:
    """The viewers of a file, and words for each line that is wrong and lets nobody in."""
    people: dict[str, Person] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            person = parse_line(line)
        except WrongLine as error:
            wrong.append(f"line {number}: {error}")
            continue
        if person is None:
            continue
        if person.name in people:
            wrong.append(f"line {number}: {person.name} stands there already; remove one of them")
            continue
        people[person.name] = person
    return list(people.values()), wrong


def read(path: str) -> str:
    """The file's text; AccountsError when it cannot be read, or others can."""
    try:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", "") or str(error)).lower()
        remedy = "make it with gpu-monitor viewers add NAME"
        if isinstance(error, PermissionError):
            remedy = "chown it to the user that serves the page"
        raise AccountsError(f"{path}: cannot be read ({why}); {remedy}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise AccountsError(f"{path}: is no file; write the path of the viewers' file")
    if facts.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise AccountsError(f"{path}: others may read or change it; chmod o=,g-w {path}")
    if len(data) > MAX_BYTES:
        raise AccountsError(f"{path}: is over {MAX_BYTES >> 20} MiB; write the viewers' file")
    return data.decode("utf-8", "replace")


class Accounts:
    """The viewers of the file at `path`, as of the last `refresh`.

    A file that may not be used any more lets nobody in. `changes` counts how often the viewers
    were others than before.
    """

    def __init__(self, path: str) -> None:
        self.changes = 0
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._missed = 0
        self._said: list[str] = []
        self._by_name: dict[str, Person] = {}
        self._by_secret: dict[str, Person] = {}
        self._stamp = self._look()
        self._take(read(path))

    def __len__(self) -> int:
        return len(self._by_name)

    def by_name(self, name: str) -> Person | None:
        """The viewer of that name."""
        return self._by_name.get(name)

    def by_token(self, token: str) -> Person | None:
        """The viewer whose token it is."""
        return self._by_secret.get(hashing.hash_token(token))

    def holds(self, person: Person) -> bool:
        """Whether this is a viewer still, with the same role and the same secret."""
        return self._by_name.get(person.name) == person

    def refresh(self) -> None:
        """Read the file again if it has changed; to be called about once a second."""
        stamp = self._look()
        self._missed = self._missed + 1 if stamp is None else 0
        if stamp is not None or self._missed >= _GONE_LOOKS:
            self._read_if_other(stamp)

    def refresh_for_newcomer(self) -> None:
        """The same before somebody is refused, who may have been added in this second."""
        stamp = self._look()
        if stamp is not None:
            self._read_if_other(stamp)

    def _read_if_other(self, stamp: tuple[int, ...] | None) -> None:
        if stamp == self._stamp:
            return
        self._stamp = stamp
        before = self._by_name
        try:
            self._take(read(self._path))
        except AccountsError as error:
            self._hold(())
            self._say([f"{error}. Until then nobody may sign in"])
        self.changes += self._by_name != before

    def _look(self) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self._path)
        except (OSError, ValueError):
            return None
        return (
            facts.st_ino,
            facts.st_size,
            facts.st_mtime_ns,
            facts.st_ctime_ns,
            facts.st_mode,
            facts.st_uid,
        )

    def _take(self, text: str) -> None:
        people, wrong = parse(text)
        self._hold(people)
        if not people:
            wrong.append("names nobody; gpu-monitor viewers add NAME")
        self._say([f"{self._path}: {words}" for words in wrong])

    def _hold(self, people: Iterable[Person]) -> None:
        self._by_name = {person.name: person for person in people}
        self._by_secret = {
            person.secret: person
            for person in self._by_name.values()
            if hashing.kind_of(person.secret) == "token"
        }

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            if line not in self._said:
                LOG.error("%s", line)
        self._said = lines
