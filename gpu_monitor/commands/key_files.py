"""Writes the folder of CURVE keys: this machine's pair, and the peers enrolled on a broker."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

from gpu_monitor.commands.atomic_file import write_atomically
from gpu_monitor.wire.curve import keys
from gpu_monitor.wire.curve.keys import (
    BROKER_PUBLIC,
    OWN_PUBLIC,
    OWN_SECRET,
    PUBLIC_ENDING,
    KeysError,
    Pair,
)
from gpu_monitor.wire.limits import is_host_name

CARRY = "carry"
"""Subfolder for pairs created here for other machines, until they are moved there."""
MAX_KEY_NAME = 240
"""The name plus its suffix must fit in a file name."""

SECRET_COMMENT = "GPU Monitor: the SECRET key of {}, created {}. Keep it private."
PUBLIC_COMMENT = "GPU Monitor: the public key of {}, written {}."


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The result of an enrolment.

    `changed` is False if the key was enrolled already. `carry` is the folder with the key pair
    created for the machine, or empty.
    """

    name: str
    public: str
    changed: bool = True
    carry: str = ""


def become_owner(folder: str) -> None:
    """If run by root, switch to the owner of the folder, so that the owner can read the files."""
    if os.geteuid() or not os.path.isdir(folder):
        return
    found = os.stat(folder)
    if found.st_uid:
        os.setgroups([])
        os.setegid(found.st_gid)
        os.seteuid(found.st_uid)


def init(folder: str, name: str) -> tuple[str, bool]:
    """This machine's public key, and whether the pair is new. Never overwrites a secret key."""
    _make_folder(folder)
    try:
        public, made = keys.own_pair(folder).public, False
    except keys.Missing:
        public, made = rotate_own(folder, name), True
    if not made and _public(folder, OWN_PUBLIC) != public:
        _write_public(os.path.join(folder, OWN_PUBLIC), public, name)
    return public, made


def rotate_own(folder: str, name: str) -> str:
    """Replace this machine's key pair; return the new public key."""
    keys.check_folder(folder)
    before, pair = _public(folder, OWN_PUBLIC), _new_pair()
    _write_pair(folder, pair, name)
    if (
        before and _public(folder, BROKER_PUBLIC) == before
    ):  # the broker's machine may hold its own key twice
        _write_public(os.path.join(folder, BROKER_PUBLIC), pair.public, "the broker")
    return pair.public


def add(folder: str, kind: str, name: str, public: str) -> Enrolment:
    """Enrol a new name with the key `public`; if empty, with a pair created for it."""
    before = _enrolled(folder, kind, name)
    if before is not None and before != public:
        raise KeysError(f"{name}: enrolled with another key; use gpu-monitor keys rotate")
    if before is not None:
        return Enrolment(name, public, changed=False)
    return _enrol(folder, kind, name, public)


def rotate(folder: str, kind: str, name: str, public: str) -> Enrolment:
    """Replace the key of an enrolled name; `public` as for `add`."""
    before = _enrolled(folder, kind, name)
    if before is None:
        raise KeysError(f"{name}: not enrolled here; use gpu-monitor keys add")
    if before == public:
        return Enrolment(name, public, changed=False)
    return _enrol(folder, kind, name, public)


def revoke(folder: str, kind: str, name: str) -> None:
    """Remove a name's public key, and the pair created for it if it is still here."""
    _check_name(name)
    path = _path(folder, kind, name)
    with _writing(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            raise KeysError(f"{name}: not enrolled here; nothing to revoke") from None
    shutil.rmtree(_carry(folder, kind, name), ignore_errors=True)


def folder_problems(folder: str) -> Iterator[str]:
    """Risks to secret keys: a folder that others can read, and pairs of other machines."""
    if keys.is_open(folder):
        yield f"{folder}: other users can read it; run chmod 700 {folder}"
    for kind in (keys.HOSTS, keys.WEBS):
        place = os.path.join(folder, CARRY, kind)
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            path = os.path.join(place, name)
            if os.path.exists(os.path.join(path, OWN_SECRET)):
                yield f"{path} holds the secret key of another machine; move it there"


def _enrol(folder: str, kind: str, name: str, public: str) -> Enrolment:
    carry = ""
    if public:
        _refuse_shared(folder, kind, name, public)
    else:
        broker, pair = keys.own_pair(folder).public, _new_pair()
        public, carry = pair.public, _carry(folder, kind, name)
        shutil.rmtree(carry, ignore_errors=True)
        _make_folder(carry)
        _write_pair(carry, pair, name)
        _write_public(os.path.join(carry, BROKER_PUBLIC), broker, "the broker")
    _make_folder(os.path.join(folder, kind))
    _write_public(_path(folder, kind, name), public, name)
    return Enrolment(name, public, carry=carry)


def _refuse_shared(folder: str, kind: str, name: str, public: str) -> None:
    """Refuse a key that another name has: a key identifies one machine."""
    for other in keys.names(folder, kind):
        if other != name and _public(folder, _file(kind, other)) == public:
            raise KeysError(f"{name}: this key belongs to {other}; create another one there")


def _enrolled(folder: str, kind: str, name: str) -> str | None:
    """The key of a name; empty if its file is unusable, None if it is not enrolled."""
    _check_name(name)
    keys.check_folder(folder)
    try:
        return keys.public_key(folder, _file(kind, name))
    except keys.Missing:
        return None
    except KeysError:
        return ""


def _check_name(name: str) -> None:
    if not is_host_name(name) or name.startswith((".", "-")) or len(name) > MAX_KEY_NAME:
        raise KeysError(f"{name[:60]!r} is not a host name; use only A-Z a-z 0-9 . _ : -")


def _public(folder: str, name: str) -> str:
    """The key in a file; empty if the file is missing or unusable."""
    try:
        return keys.public_key(folder, name)
    except KeysError:
        return ""


def _new_pair() -> Pair:
    public, secret = zmq.curve_keypair()
    return Pair(public.decode(), secret.decode())


def _file(kind: str, name: str) -> str:
    return os.path.join(kind, name + PUBLIC_ENDING)


def _path(folder: str, kind: str, name: str) -> str:
    return os.path.join(folder, _file(kind, name))


def _carry(folder: str, kind: str, name: str) -> str:
    return os.path.join(folder, CARRY, kind, name)


def _make_folder(path: str) -> None:
    """Create a folder that only its owner can read; parents get the default mode."""
    with _writing(path):
        os.makedirs(path, 0o700, exist_ok=True)
    keys.check_folder(path)


def _write_pair(folder: str, pair: Pair, name: str) -> None:
    secret = os.path.join(folder, OWN_SECRET)
    _write(secret, SECRET_COMMENT.format(name, _today()), pair.secret, 0o600)
    _write_public(os.path.join(folder, OWN_PUBLIC), pair.public, name)


def _write_public(path: str, public: str, name: str) -> None:
    _write(path, PUBLIC_COMMENT.format(name, _today()), public, 0o644)


def _write(path: str, comment: str, key: str, mode: int) -> None:
    with _writing(path):
        write_atomically(path, f"# {comment}\n{key}\n", mode)


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise KeysError(f"{path}: cannot be written ({why}); run this as its owner") from None


def _today() -> str:
    return time.strftime("%Y-%m-%d")
