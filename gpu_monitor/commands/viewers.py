"""`gpu-monitor viewers`: adds, removes and lists the people who may sign in to the page."""

import contextlib
import fcntl
import getpass
import os
import sys
from collections.abc import Iterator

from gpu_monitor.commands.atomic_file import write_atomically
from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config
from gpu_monitor.web.auth import accounts, hashing
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.settings import Role

MIN_PASSWORD = 8
_NEW_FILE_MODE = 0o600


def run(config: Config, action: str, name: str = "", role: str = "") -> None:
    """Run an action. Raises ConfigError with the reason if it is impossible."""
    if not config.viewers:
        raise ConfigError(["viewers: no file is set; write viewers: viewers in config.yml"])
    try:
        if action == "list":
            print_viewers(config.viewers)
        elif action == "remove":
            remove(config.viewers, name)
        else:
            add(config, name, accounts.role_of(role))
    except accounts.AccountsError as error:
        raise ConfigError([str(error)]) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = "check that its folder exists and is writable"
        raise ConfigError([f"{config.viewers}: cannot be changed ({why}); {remedy}"]) from None


def add(config: Config, name: str, role: Role | None) -> None:
    """Add a viewer. A new token is printed on stdout, and cannot be shown again."""
    if config.sign_in == "none":
        raise ConfigError(["sign_in: none needs no viewers; write token, basic or proxy first"])
    if not accounts.is_name(name):
        raise ConfigError([f"{name[:60]!r} is not a valid name; use one without spaces and colons"])
    _refuse_known(config.viewers, name)
    token, hashed = "", hashing.NO_SECRET
    if config.sign_in == "token":
        token = hashing.new_token()
        hashed = hashing.hash_token(token)
    elif config.sign_in == "basic":
        hashed = hashing.hash_password(ask_password(name))
    person = Person(name, role or config.viewer_role, hashed)
    with _lines(config.viewers, create=True) as lines:
        _refuse_known(config.viewers, name)  # another command may have been quicker
        lines.append(f"{person.name} {person.role} {person.secret}\n")
    _note(f"Added {name}, who sees {person.role}.")
    if token:
        _note(
            "This token is stored nowhere and cannot be shown again. Use it to sign in on the page,"
        )
        _note("in a link (PAGE?token=TOKEN), or in scripts (Authorization: Bearer TOKEN).")
        print(token)


def remove(path: str, name: str) -> None:
    """Remove a viewer. Web servers close the viewer's pages within seconds."""
    with _lines(path) as lines:
        kept = [line for line in lines if line.split()[:1] != [name]]
        if kept == lines:
            raise ConfigError([f"{path}: no viewer {name[:60]!r}; see gpu-monitor viewers list"])
        lines[:] = kept
    _note(f"Removed {name}.")


def print_viewers(path: str) -> None:
    """Print one line per viewer; errors in the file go to stderr."""
    people, errors = accounts.parse(accounts.read(path))
    width = max((len(person.name) for person in people), default=0)
    for person in people:
        print(f"{person.name:<{width}}  {person.role:<8}  {hashing.kind_of(person.secret)}")
    for error in errors:
        _note(f"{path}: {error}")


def ask_password(name: str) -> str:
    """A password, asked for twice on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password for {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise ConfigError(["the passwords differ; try again"])
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_PASSWORD:
        raise ConfigError([f"the password is too short; use at least {MIN_PASSWORD} characters"])
    return password


def _refuse_known(path: str, name: str) -> None:
    if not os.path.exists(path):
        return
    people, _ = accounts.parse(accounts.read(path))
    if any(person.name == name for person in people):
        raise ConfigError([f"{path}: {name} is already a viewer; remove {name} first"])


@contextlib.contextmanager
def _lines(path: str, create: bool = False) -> Iterator[list[str]]:
    """The lines of the file, to be changed in place; the file is then replaced atomically.

    A lock keeps two commands apart. Owner and mode of the file are preserved.
    """
    folder = os.path.dirname(path) or "."
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_new = create and not os.path.exists(path)
        lines = [] if is_new else accounts.read(path).splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        yield lines
        _replace(path, "".join(lines), None if is_new else os.stat(path))
    finally:
        os.close(lock)


def _replace(path: str, text: str, like: os.stat_result | None) -> None:
    if like is None:
        write_atomically(path, text, _NEW_FILE_MODE)
    else:
        write_atomically(path, text, like.st_mode & 0o777, (like.st_uid, like.st_gid))


def _note(text: str) -> None:
    print(text, file=sys.stderr)
