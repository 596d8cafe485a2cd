"""wire.curve.keys: what is a key, and which files are refused with which remedy."""

import os
import pwd
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from gpu_monitor.commands import key_files
from gpu_monitor.wire.curve.keys import (
    KeysError,
    Missing,
    client_keys,
    fingerprint,
    is_key,
    key_in,
    names,
    own_pair,
    public_key,
    stamp,
)
from tests.support.house import let_file_clock_tick
from tests.support.key_folders import KeyFolders

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # the public key of ZeroMQ's own man page
SIGNS = z85.Z85CHARS.decode()
LINES = st.lists(
    st.sampled_from([KEY, KEY[::-1], f"# {KEY}", "# words", "#", "", " ", KEY[:-1], "\x00", "ü"])
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    folder = str(tmp_path / "keys")
    key_files.init(folder, "node1")
    return folder


def refusal(folder: str) -> str:
    with pytest.raises(KeysError) as caught:
        client_keys(folder)
    return str(caught.value)


@given(st.binary(min_size=32, max_size=32))
def test_every_32_bytes_have_a_key_that_is_found_among_comments(data: bytes) -> None:
    key = z85.encode(data).decode()
    assert is_key(key)
    assert key_in(f"# words of {key}\n\n  {key} \n#\n") == key


@given(st.text(alphabet=SIGNS, min_size=40, max_size=40))
def test_forty_signs_are_a_key_only_where_libzmq_reads_one(text: str) -> None:
    try:
        readable = len(z85.decode(text)) == 32
    except Exception:
        readable = False
    assert is_key(text) == readable


@given(st.text() | LINES.map("\n".join))
def test_any_text_holds_one_key_or_none(text: str) -> None:
    key = key_in(text)
    assert key is None or (is_key(key) and key in text)


@given(st.binary(max_size=6000) | LINES.map(lambda lines: "\n".join(lines).encode()))
def test_any_file_is_a_key_or_a_refusal_of_one_line_that_shows_none_of_it(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "own.key").write_bytes(data)
    (folder / "own.key").chmod(0o600)
    try:
        assert own_pair(str(folder)).secret in data.decode("ascii", "replace")
    except KeysError as error:
        assert str(error) == (
            f"{folder}/own.key: holds no key (one line of 40 Z85 characters); "
            "make one with gpu-monitor keys init"
        )


def test_the_secret_is_in_no_text_that_python_makes_of_the_keys(folder: str) -> None:
    pair = own_pair(folder)
    assert pair.public in repr(pair)
    assert pair.secret not in repr(pair) and "secret" not in repr(pair)


def test_the_public_key_follows_from_the_secret_one(folder: str) -> None:
    os.unlink(f"{folder}/own.pub")
    pair = own_pair(folder)
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666, 0o644])
def test_a_secret_that_others_may_access_is_refused(folder: str, mode: int) -> None:
    os.chmod(f"{folder}/own.key", mode)
    assert refusal(folder) == (
        f"{folder}/own.key: others may read it (mode {mode:04o}); run chmod 600 {folder}/own.key"
    )


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_secret_that_only_its_owner_may_access_is_read(folder: str, mode: int) -> None:
    os.chmod(f"{folder}/own.key", mode)
    assert own_pair(folder).public


def test_a_folder_that_others_may_write_is_refused(folder: str) -> None:
    os.chmod(folder, 0o770)
    assert refusal(folder) == (f"{folder}: others may write it (mode 0770); run chmod 700 {folder}")


def test_a_public_key_that_others_may_replace_is_refused(tmp_path: Path) -> None:
    folder = KeyFolders(tmp_path).host("node1")
    os.chmod(f"{folder}/broker.pub", 0o664)
    assert refusal(folder).endswith(f"run chmod 644 {folder}/broker.pub")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_secret_of_another_user_is_refused(folder: str) -> None:
    other = pwd.getpwall()[1]
    os.chown(f"{folder}/own.key", other.pw_uid, -1)
    assert refusal(folder).startswith(f"{folder}/own.key: belongs to {other.pw_name}; run chown")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read the keys of another user")
def test_root_reads_the_folder_of_another_user_who_owns_all_of_it(folder: str) -> None:
    for path in (folder, f"{folder}/own.key", f"{folder}/own.pub"):
        os.chown(path, 65534, -1)
    assert own_pair(folder).public


def test_what_is_missing_is_named_with_the_remedy(folder: str, tmp_path: Path) -> None:
    assert refusal(folder) == f"{folder}/broker.pub: is missing; put the broker's own.pub there"
    os.unlink(f"{folder}/own.key")
    words = "is missing; make one with gpu-monitor keys init"
    assert refusal(folder) == f"{folder}/own.key: {words}"
    assert refusal(str(tmp_path / "none")).startswith(f"{tmp_path}/none: is missing; make it with")


def test_anything_but_a_file_or_a_folder_is_refused_without_waiting(folder: str) -> None:
    assert refusal(f"{folder}/own.key").endswith("not a folder; name a folder of keys")
    os.unlink(f"{folder}/own.key")
    os.mkfifo(f"{folder}/own.key", 0o600)
    assert "not a regular file" in refusal(folder)
    os.unlink(f"{folder}/own.key")
    os.mkdir(f"{folder}/own.key", 0o700)
    assert f"{folder}/own.key: " in refusal(folder)


def test_in_the_broker_s_own_folder_its_key_is_the_broker_s(tmp_path: Path) -> None:
    folders = KeyFolders(tmp_path)
    folders.host("node1")
    assert client_keys(folders.broker).broker == own_pair(folders.broker).public


def test_names_are_those_of_the_files(tmp_path: Path) -> None:
    folders = KeyFolders(tmp_path)
    assert names(folders.broker, "hosts") == []
    folders.host("b")
    folders.host("a")
    Path(folders.broker, "hosts", "README").write_text("")
    assert names(folders.broker, "hosts") == ["a", "b"]
    assert public_key(folders.broker, "hosts/a.pub") == own_pair(str(tmp_path / "a")).public
    with pytest.raises(Missing):
        public_key(folders.broker, "hosts/c.pub")


def test_names_in_a_folder_that_others_may_write_are_refused(tmp_path: Path) -> None:
    folders = KeyFolders(tmp_path)
    folders.host("a")
    os.chmod(f"{folders.broker}/hosts", 0o777)
    with pytest.raises(KeysError, match="others may write it"):
        names(folders.broker, "hosts")


def test_a_stamp_changes_with_content_mode_and_presence(folder: str) -> None:
    path = f"{folder}/own.key"
    stamps = [stamp(path)]
    let_file_clock_tick()
    os.chmod(path, 0o400)
    stamps.append(stamp(path))
    key_files.rotate_own(folder, "node1")
    stamps.append(stamp(path))
    os.unlink(path)
    stamps.append(stamp(path))
    assert len(set(stamps)) == 4 and stamps[-1] == ()


def test_a_fingerprint_is_short_and_each_key_has_its_own() -> None:
    assert fingerprint(KEY) != fingerprint(KEY[::-1])
    assert len(fingerprint(KEY)) == 12
