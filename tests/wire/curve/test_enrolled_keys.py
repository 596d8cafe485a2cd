"""wire.curve.enrolled_keys: which keys are enrolled while the files of a folder change."""

import logging
import os
from pathlib import Path

import pytest

from gpu_monitor.commands import key_files
from gpu_monitor.wire.curve.enrolled_keys import POLLS_PER_FULL_POLL, EnrolledKeys
from gpu_monitor.wire.curve.keys import HOSTS, WEBS, KeysError, own_pair
from tests.support.house import let_file_clock_tick
from tests.support.key_folders import KeyFolders

POLL_SECONDS = 1.0
FULL_POLL_SECONDS = POLLS_PER_FULL_POLL * POLL_SECONDS
LATER = 100.0


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    folders = KeyFolders(tmp_path)
    folders.host("node1")
    folders.web("page1")
    return folders


def public(folders: KeyFolders, name: str) -> str:
    return own_pair(str(folders.place / name)).public


def test_a_key_is_known_for_its_own_kind_only(folders: KeyFolders) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    assert enrolled.name_of(HOSTS, public(folders, "node1")) == "node1"
    assert enrolled.name_of(WEBS, public(folders, "node1")) is None
    assert enrolled.name_of(WEBS, public(folders, "page1")) == "page1"
    assert enrolled.name_of(HOSTS, "") is None


def test_the_broker_s_own_key_is_its_machine_unless_it_is_enrolled(folders: KeyFolders) -> None:
    own = own_pair(folders.broker).public
    assert EnrolledKeys(folders.broker, "head").name_of(HOSTS, own) == "head"
    assert EnrolledKeys(folders.broker, "").name_of(HOSTS, own) is None
    key_files.add(folders.broker, HOSTS, "gpu-head", own)
    assert EnrolledKeys(folders.broker, "head").name_of(HOSTS, own) == "gpu-head"
    assert list(EnrolledKeys(folders.broker, "head").names(HOSTS)) == ["gpu-head", "node1"]


def test_new_and_revoked_keys_are_seen_at_the_next_poll_and_logged(
    folders: KeyFolders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    enrolled = EnrolledKeys(folders.broker, "")
    assert not enrolled.poll(LATER)
    let_file_clock_tick()
    folders.host("node2")
    assert not enrolled.poll(LATER + POLL_SECONDS / 2)
    assert enrolled.poll(LATER + POLL_SECONDS)
    assert enrolled.name_of(HOSTS, public(folders, "node2")) == "node2"
    let_file_clock_tick()
    folders.revoke("node1", HOSTS)
    assert enrolled.poll(LATER + 2 * POLL_SECONDS)
    assert enrolled.name_of(HOSTS, public(folders, "node1")) is None
    assert caplog.messages[-2:] == ["enrolled: hosts node2", "revoked: hosts node1"]


def test_an_overwritten_file_is_seen_at_the_next_full_poll(folders: KeyFolders) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    before = public(folders, "node1")
    enrolled.poll(LATER)
    after = key_files.rotate_own(str(folders.place / "node1"), "node1")
    Path(folders.broker, "hosts/node1.pub").write_text(after + "\n")
    enrolled.poll(LATER + FULL_POLL_SECONDS)
    assert enrolled.name_of(HOSTS, after) == "node1"
    assert enrolled.name_of(HOSTS, before) is None


def test_without_a_change_no_file_is_read(
    folders: KeyFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    monkeypatch.setattr("gpu_monitor.wire.curve.keys.public_key", None)  # would raise when called
    assert not enrolled.poll(LATER)
    assert not enrolled.poll(LATER + FULL_POLL_SECONDS)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("node2", "nonsense", "holds no key"),
        ("no host", "x" * 40, "its name is not a host name"),
        ("", "x" * 40, "its name is not a host name"),
        ("zz", None, "ignored: it holds the key of node1"),
    ],
)
def test_a_wrong_file_is_logged_once_and_admits_no_peer(
    folders: KeyFolders, caplog: pytest.LogCaptureFixture, name: str, text: str | None, words: str
) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    path = Path(folders.broker, "hosts", f"{name}.pub")
    path.write_text(public(folders, "node1") if text is None else text)
    for number in range(4):
        enrolled.poll(LATER + number * FULL_POLL_SECONDS)
    assert len(caplog.messages) == 1 and words in caplog.messages[0]
    assert list(enrolled.names(HOSTS)) == ["node1"]


def test_a_file_that_was_broken_for_a_moment_is_read_again(
    folders: KeyFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is seen half-written, and keeps its timestamp once it is complete."""
    path = Path(folders.broker, "hosts", "node1.pub")
    right = path.read_text()
    monkeypatch.setattr("gpu_monitor.wire.curve.keys._stamp", lambda found: (1,))
    path.write_text("")
    enrolled = EnrolledKeys(folders.broker, "")
    assert list(enrolled.names(HOSTS)) == []
    path.write_text(right)
    assert enrolled.poll(LATER)
    assert list(enrolled.names(HOSTS)) == ["node1"]


def test_a_folder_that_others_may_write_admits_no_peer_until_it_is_fixed(
    folders: KeyFolders, caplog: pytest.LogCaptureFixture
) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    hosts = f"{folders.broker}/hosts"
    os.chmod(hosts, 0o777)
    assert enrolled.poll(LATER)
    assert list(enrolled.names(HOSTS)) == [] and list(enrolled.names(WEBS)) == ["page1"]
    assert f"{hosts}: others may write it (mode 0777); run chmod 700 {hosts}" in caplog.messages
    let_file_clock_tick()
    os.chmod(hosts, 0o755)
    assert enrolled.poll(LATER + POLL_SECONDS)
    assert list(enrolled.names(HOSTS)) == ["node1"]


def test_a_removed_folder_admits_no_peer(folders: KeyFolders) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    folders.revoke("node1", HOSTS)
    Path(folders.broker, "hosts").rmdir()
    assert enrolled.poll(LATER)
    assert list(enrolled.names(HOSTS)) == []


def test_the_broker_s_own_new_key_waits_for_its_restart(
    folders: KeyFolders, caplog: pytest.LogCaptureFixture
) -> None:
    enrolled = EnrolledKeys(folders.broker, "")
    before = enrolled.own
    key_files.rotate_own(folders.broker, "broker")
    for number in range(3):
        enrolled.poll(LATER + number * FULL_POLL_SECONDS)
    assert caplog.messages == ["the broker's own key has changed; restart the broker to use it"]
    assert enrolled.own == before


def test_without_an_own_pair_there_is_no_broker(folders: KeyFolders) -> None:
    os.unlink(f"{folders.broker}/own.key")
    with pytest.raises(KeysError, match="make one with gpu-monitor keys init"):
        EnrolledKeys(folders.broker, "")
