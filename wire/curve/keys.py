"""A folder of CURVE keys; a key that others may read, or write, is refused.

Keys are Z85 text of 40 characters. A key file holds one, beside empty lines and comments ("# ...").
"""

import contextlib
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

import zmq
from zmq.utils import z85

OWN_SECRET = "own.key"
OWN_PUBLIC = "own.pub"
BROKER_PUBLIC = "broker.pub"
HOSTS = "hosts"
WEBS = "webs"
PUBLIC_ENDING = ".pub"

SECRET_BITS = 0o077
"""Only the owner may access a secret."""
PUBLIC_BITS = 0o022
"""Others may read a public key, but not change it."""

Stamp: TypeAlias = tuple[int, ...]

_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
_MAX_FILE_BYTES = 4096


class KeysError(Exception):
    """A key that cannot be used: one line with the file and the remedy. Never holds a secret."""


class Missing(KeysError):
    """A key file that does not exist."""


class Pair(NamedTuple):
    """A machine's own keys."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"Pair({self.public})"  # it may end up in a log


class ClientKeys(NamedTuple):
    """The keys of a collector or web server: its own pair and the broker's public key."""

    own: Pair
    broker: str

    def lock(self, socket: "zmq.Socket[bytes]") -> None:
        """Makes the socket's next connections use CURVE, to this broker only."""
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.own.secret.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.own.public.encode())
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.broker.encode())


def is_key(text: str) -> bool:
    """Whether `text` is a key: 40 characters of Z85, for 32 bytes."""
    if not _KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == 32
    except struct.error:  # five characters may encode more than four bytes hold
        return False


def key_in(text: str) -> str | None:
    """The only key in a key file's text; None if there is none, or anything else."""
    lines = [line.strip() for line in text.splitlines()]
    words = [line for line in lines if line not in ("", "#") and not line.startswith("# ")]
    return words[0] if len(words) == 1 and is_key(words[0]) else None


def fingerprint(public: str) -> str:
    """A short name for a public key, to compare by eye."""
    import hashlib  # a collector does not need it, and it loads megabytes

    return hashlib.sha256(public.encode()).hexdigest()[:12]


def client_keys(folder: str) -> ClientKeys:
    """The keys in a collector's or web server's folder; raises KeysError.

    In the broker's own folder, which has folders of enrolled keys, the broker's key is the own one.
    """
    own = own_pair(folder)
    try:
        return ClientKeys(own, public_key(folder, BROKER_PUBLIC))
    except Missing:
        if not is_broker(folder):
            raise
        return ClientKeys(own, own.public)


def is_broker(folder: str) -> bool:
    """Whether the folder is a broker's, with folders of enrolled keys."""
    return any(os.path.isdir(os.path.join(folder, name)) for name in (HOSTS, WEBS))


def own_pair(folder: str) -> Pair:
    """This machine's pair, derived from its secret key; raises KeysError."""
    check_folder(folder)
    secret = _read_key(folder, OWN_SECRET, SECRET_BITS)
    return Pair(zmq.curve_public(secret.encode()).decode(), secret)


def public_key(folder: str, name: str) -> str:
    """The key in a public key file, `name` relative to the folder; raises KeysError."""
    return _read_key(folder, name, PUBLIC_BITS)


def check_folder(folder: str) -> None:
    """Raises KeysError if others than the owner could put keys into the folder."""
    with _complaining(folder):
        found = os.stat(folder)
        if not stat.S_ISDIR(found.st_mode):
            raise KeysError(f"{folder}: not a folder; name a folder of keys")
    _check_owner(folder, found.st_uid, {0, os.geteuid()} if os.geteuid() else {found.st_uid})
    _check_bits(folder, found.st_mode, PUBLIC_BITS, "700")


def is_open(folder: str) -> bool:
    """Whether others may read the folder; harmless to the keys, but unnecessary."""
    return bool(os.stat(folder).st_mode & SECRET_BITS)


def names(folder: str, kind: str) -> list[str]:
    """The names enrolled as `kind` (HOSTS or WEBS), sorted; KeysError if others could enrol."""
    return sorted(stamps(folder, kind))


def stamps(folder: str, kind: str) -> dict[str, Stamp]:
    """The stamp of each public key file by the name that it enrols; KeysError as in `names`."""
    path = os.path.join(folder, kind)
    found: dict[str, Stamp] = {}
    try:
        check_folder(path)
        with _complaining(path), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.endswith(PUBLIC_ENDING):
                    found[entry.name[: -len(PUBLIC_ENDING)]] = _stamp_of(entry)
    except Missing:
        return {}
    return found


def stamp(path: str) -> Stamp:
    """A value that changes with a file's content, owner or mode; empty if there is no file."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return ()


def _stamp_of(entry: "os.DirEntry[str]") -> Stamp:
    try:
        return _stamp(entry.stat())
    except OSError:  # removed in the meantime, or a dangling link
        return ()


def _stamp(found: os.stat_result) -> Stamp:
    # Any change of a file changes its ctime, but by a clock that may tick only every 4 ms: a file
    # that is read while it is being written is recognized by its size.
    return (found.st_ino, found.st_ctime_ns, found.st_size)


def _read_key(folder: str, name: str, forbidden: int) -> str:
    path = os.path.join(folder, name)
    with _complaining(path), _opened(path) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise KeysError(f"{path}: not a regular file; put a key file there")
        data = file.read(_MAX_FILE_BYTES + 1)
        owners = {0, os.geteuid(), os.stat(folder).st_uid}
    _check_owner(path, found.st_uid, owners)
    _check_bits(path, found.st_mode, forbidden, "600" if forbidden == SECRET_BITS else "644")
    key = key_in(data.decode("ascii", "replace")) if len(data) <= _MAX_FILE_BYTES else None
    if key is None:
        raise KeysError(f"{path}: holds no key (one line of 40 Z85 characters); {_remedy(name)}")
    return key


def _opened(path: str) -> BinaryIO:
    """Opens a file without blocking, as a named pipe without a writer would."""
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _check_owner(path: str, owner: int, right: set[int]) -> None:
    if owner not in right:
        remedy = f"run chown {_user(os.geteuid())} {path}, or run this as {_user(owner)}"
        raise KeysError(f"{path}: belongs to {_user(owner)}; {remedy}")


def _check_bits(path: str, mode: int, forbidden: int, right: str) -> None:
    if mode & forbidden:
        verb = "read" if forbidden == SECRET_BITS else "write"
        shown = f"{stat.S_IMODE(mode):04o}"
        raise KeysError(f"{path}: others may {verb} it (mode {shown}); run chmod {right} {path}")


@contextlib.contextmanager
def _complaining(path: str) -> Iterator[None]:
    """Turns an OSError about a path into a KeysError."""
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"{path}: is missing; {_remedy(os.path.basename(path))}") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = f"make {_user(os.geteuid())}, who runs this, its owner"
        raise KeysError(f"{path}: cannot be read ({why}); {remedy}") from None


def _remedy(name: str) -> str:
    if name == BROKER_PUBLIC:
        return f"put the broker's {OWN_PUBLIC} there"
    if name == OWN_SECRET:
        return "make one with gpu-monitor keys init"
    if name.endswith(PUBLIC_ENDING):
        return "enrol it again with gpu-monitor keys"
    return "make it with gpu-monitor keys init"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
