"""The viewers' file: one line for each person who may sign in, read again when it changes."""

import logging
import os
import re
import stat
from collections.abc import Iterable
from typing import get_args

from gpu_monitor.web.auth import hashing
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.settings import Role

log = logging.getLogger(__name__)

ROLES: tuple[Role, ...] = get_args(Role)
VIEWERS_FILE_MAX_BYTES = 4 << 20
_NAME = re.compile(r"[^\s:#][^\s:]{0,127}")
_POLLS_UNTIL_GONE = 2
"""An editor may remove a file for a moment, so it must be missing twice to count as gone."""


class AccountsError(Exception):
    """An unusable viewers' file: its path, what is wrong with it, what to do."""


class InvalidLine(ValueError):
    """A line that defines no viewer; the text says why."""


def is_name(name: str) -> bool:
    """Whether the file may contain this name: printable, without spaces and colons."""
    return name.isprintable() and _NAME.fullmatch(name) is not None


def role_of(word: str) -> Role | None:
    """The role with this name."""
    roles: dict[str, Role] = {role: role for role in ROLES}
    return roles.get(word)


def parse_line(line: str) -> Person | None:
    """The viewer that a line defines; None if it is empty or a comment, else InvalidLine."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    if len(words) != 3:
        raise InvalidLine(f"expected 3 fields (name, role, hash), found {len(words)}")
    name, role, hashed = words
    if not is_name(name):
        raise InvalidLine(f"{name[:40]!r} is not a valid name; write one without ':'")
    known = role_of(role)
    if known is None:
        roles = f"{', '.join(ROLES[:-1])} or {ROLES[-1]}"
        raise InvalidLine(f"{role[:20]!r} is not a role; write {roles}")
    if hashing.kind_of(hashed) is None:
        raise InvalidLine(f"the hash of {name} is damaged; remove and add the viewer again")
    return Person(name, known, hashed)


def parse(text: str) -> tuple[list[Person], list[str]]:
    """The viewers that a file defines, and an error message for each invalid line."""
    people: dict[str, Person] = {}
    errors: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            person = parse_line(line)
        except InvalidLine as error:
            errors.append(f"line {number}: {error}")
            continue
        if person is None:
            continue
        if person.name in people:
            errors.append(f"line {number}: duplicate viewer {person.name}; remove one")
            continue
        people[person.name] = person
    return list(people.values()), errors


def read(path: str) -> str:
    """The file's text; AccountsError if it is unreadable, or accessible to other users."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            is_regular = stat.S_ISREG(facts.st_mode)
            data = file.read(VIEWERS_FILE_MAX_BYTES + 1) if is_regular else b""
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not is_regular:
        raise AccountsError(f"{path}: not a regular file; set viewers to the path of a file")
    if facts.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise AccountsError(f"{path}: other users can read or change it; chmod o=,g-w {path}")
    if len(data) > VIEWERS_FILE_MAX_BYTES:
        limit = f"{VIEWERS_FILE_MAX_BYTES >> 20} MiB"
        raise AccountsError(f"{path}: larger than {limit}; set viewers to the viewers' file")
    return data.decode("utf-8", "replace")


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: str, error: Exception) -> AccountsError:
    why = (getattr(error, "strerror", "") or str(error)).lower()
    remedy = "create it with gpu-monitor viewers add NAME"
    if isinstance(error, PermissionError):
        remedy = "chown it to the user that runs the web server"
    return AccountsError(f"{path}: cannot be read ({why}); {remedy}")


class Accounts:
    """The viewers in the file at `path`, as of the last `poll`.

    A file that becomes unusable lets no one in. `changes` counts how often the viewers changed.
    """

    def __init__(self, path: str) -> None:
        self.changes = 0
        self._path = path
        self._missing_polls = 0
        self._logged: list[str] = []
        self._by_name: dict[str, Person] = {}
        self._by_secret: dict[str, Person] = {}
        self._stamp = self._stat()
        self._apply(read(path))

    def __len__(self) -> int:
        return len(self._by_name)

    def by_name(self, name: str) -> Person | None:
        """The viewer with this name."""
        return self._by_name.get(name)

    def by_token(self, token: str) -> Person | None:
        """The viewer with this token."""
        return self._by_secret.get(hashing.hash_token(token))

    def is_current(self, person: Person) -> bool:
        """Whether this is still a viewer, with the same role and the same secret."""
        return self._by_name.get(person.name) == person

    def reload_if_changed(self) -> None:
        """Read the file again if it has changed; to be called about once a second."""
        stamp = self._stat()
        self._missing_polls = self._missing_polls + 1 if stamp is None else 0
        if stamp is not None or self._missing_polls >= _POLLS_UNTIL_GONE:
            self._read_if_changed(stamp)

    def reload_for_newcomer(self) -> None:
        """The same before someone is refused who may have been added within this second."""
        stamp = self._stat()
        if stamp is not None:
            self._read_if_changed(stamp)

    def _read_if_changed(self, stamp: tuple[int, ...] | None) -> None:
        if stamp == self._stamp:
            return
        self._stamp = stamp
        before = self._by_name
        try:
            self._apply(read(self._path))
        except AccountsError as error:
            self._replace(())
            self._log_new([f"{error}. Until then, no one can sign in"])
        self.changes += self._by_name != before

    def _stat(self) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self._path)
        except (OSError, ValueError):
            return None
        times = (facts.st_mtime_ns, facts.st_ctime_ns)
        return (facts.st_ino, facts.st_size, *times, facts.st_mode, facts.st_uid)

    def _apply(self, text: str) -> None:
        people, errors = parse(text)
        self._replace(people)
        if not people:
            errors.append("contains no viewers; gpu-monitor viewers add NAME")
        self._log_new([f"{self._path}: {error}" for error in errors])

    def _replace(self, people: Iterable[Person]) -> None:
        self._by_name = {person.name: person for person in people}
        self._by_secret = {
            person.secret: person
            for person in self._by_name.values()
            if hashing.kind_of(person.secret) == "token"
        }

    def _log_new(self, errors: list[str]) -> None:
        for error in errors:
            if error not in self._logged:
                log.error("%s", error)
        self._logged = errors
