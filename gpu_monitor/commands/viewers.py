"""`gpu-monitor viewers`: who may sign in to the page, added, removed, listed."""

import contextlib
import fcntl
import getpass
import os
import sys
from collections.abc import Iterator

from gpu_monitor.commands.atomic_file import write_whole
from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config
from gpu_monitor.web.auth import accounts, hashing
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.settings import Role

MIN_PASSWORD = 8
_NEW_FILE_MODE = 0o600


def run(config: Config, action: str, name: str = "", role: str = "") -> None:
    """Does what was asked; ConfigError with the reason when it cannot be done."""
    if not config.viewers:
        raise ConfigError(["viewers: no file is named; write viewers: viewers in config.yml"])
    try:
        if action == "list":
            show(config.viewers)
        elif action == "remove":
            remove(config.viewers, name)
        else:
            add(config, name, accounts.role_of(role))
    except accounts.AccountsError as error:
        raise ConfigError([str(error)]) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = "see that its folder is there, and that you may write in it"
        raise ConfigError([f"{config.viewers}: cannot be changed ({why}); {remedy}"]) from None


def add(config: Config, name: str, role: Role | None) -> None:
    """A new line; a new token is told on standard output, the only time that it is."""
    if config.sign_in == "none":
        words = "sign_in: is none, so nobody has to sign in; write token, basic or proxy first"
        raise ConfigError([words])
    if not accounts.is_name(name):
        raise ConfigError([f"{name[:60]!r} is no name; write one without blanks and colons"])
    _refuse_known(config.viewers, name)
    token, hashed = "", hashing.NO_SECRET
    if config.sign_in == "token":
        token = hashing.new_token()
        hashed = hashing.hash_token(token)
    elif config.sign_in == "basic":
        hashed = hashing.hash_password(ask_password(name))
    person = Person(name, role or config.viewer_role, hashed)
    with _lines(config.viewers, create=True) as lines:
        _refuse_known(config.viewers, name)  # somebody else may have been quicker
        lines.append(f"{person.name} {person.role} {person.secret}\n")
    _say(f"{name} is a viewer now and sees {person.role}.")
    if token:
        _say(
            "This token is kept nowhere else and cannot be told again. It signs in on the page, or"
        )
        _say("by a link, PAGE?token=TOKEN; a script sends it as Authorization: Bearer TOKEN.")
        print(token)


def remove(path: str, name: str) -> None:
    """The viewer's line goes; a web server closes the viewer's pages within seconds."""
    with _lines(path) as lines:
        kept = [line for line in lines if line.split()[:1] != [name]]
        if kept == lines:
            raise ConfigError([f"{path}: {name[:60]!r} is none of the viewers; see viewers list"])
        lines[:] = kept
    _say(f"{name} is no viewer any more.")


def show(path: str) -> None:
    """A line for each viewer, then what is wrong with the file."""
    people, wrong = accounts.parse(accounts.read(path))
    width = max((len(person.name) for person in people), default=0)
    for person in people:
        print(f"{person.name:<{width}}  {person.role:<8}  {hashing.kind_of(person.secret)}")
    for words in wrong:
        _say(f"{path}: {words}")


def ask_password(name: str) -> str:
    """A password from the terminal, asked twice, or from the first line of standard input."""
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password for {name}: ")
        if getpass.getpass("Once more: ") != password:
            raise ConfigError(["the two passwords differ; try again"])
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
        raise ConfigError([f"{path}: {name} is a viewer already; remove {name} first"])


@contextlib.contextmanager
def _lines(path: str, create: bool = False) -> Iterator[list[str]]:
    """The file's lines, to be changed in place; then the whole file is replaced at once.

    One after the other, where two commands change it; owner and mode stay as they are.
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
        write_whole(path, text, _NEW_FILE_MODE)
    else:
        write_whole(path, text, like.st_mode & 0o777, (like.st_uid, like.st_gid))


def _say(words: str) -> None:
    print(words, file=sys.stderr)
