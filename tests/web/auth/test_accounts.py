"""The viewers' file: which lines are valid, and when it is read again."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth.accounts import Accounts, AccountsError, is_name, parse, read
from gpu_monitor.web.auth.hashing import hash_token
from gpu_monitor.web.auth.person import Person
from tests.support.house import let_file_clock_tick

ALICE = f"alice names {hash_token('a')}\n"
BOB = f"bob counts {hash_token('b')}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "viewers"
    path.touch(0o600)
    path.write_text(ALICE)
    return path


def test_a_line_is_a_name_a_role_and_a_hash() -> None:
    people, errors = parse(f"# words\n\n{ALICE}{BOB}proxied commands -\n")
    assert errors == []
    assert people[0] == Person("alice", "names", hash_token("a"))
    assert [(person.name, person.role) for person in people[1:]] == [
        ("bob", "counts"),
        ("proxied", "commands"),
    ]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("alice", "expected 3 fields (name, role, hash), found 1"),
        ("alice names", "found 2"),
        ("alice names - more", "found 4"),
        ("alice root -", "'root' is not a role; write counts, names or commands"),
        ("al:ice names -", "'al:ice' is not a valid name"),
        ("alice names sha256:12", "the hash of alice is damaged"),
        (ALICE + ALICE, "line 2: duplicate viewer alice; remove one"),
    ],
)
def test_an_invalid_line_is_reported_and_admits_nobody(line: str, error: str) -> None:
    people, errors = parse(line + "\n" + BOB)
    assert error in errors[0] and errors[0].startswith("line ")
    assert people[-1].name == "bob"


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    people, _ = parse(text)
    assert all(is_name(person.name) for person in people)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "#a", "a\n", "a\x00", "\udcff", "x" * 129])
def test_some_names_are_refused_in_the_file(name: str) -> None:
    assert not is_name(name)


def test_user_names_of_directories_and_mail_addresses_are_valid() -> None:
    assert all(map(is_name, ["alice", "alice@example.org", "LAB\\alice", "zoë", "a.b-c_d#1"]))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o620, 0o666])
def test_a_file_accessible_to_other_users_is_refused_with_a_remedy(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(AccountsError, match=f"chmod o=,g-w {file}"):
        read(str(file))


def test_a_file_readable_by_the_service_s_group_is_accepted(file: Path) -> None:
    file.chmod(0o640)
    assert read(str(file)) == ALICE


def test_anything_but_a_readable_file_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(AccountsError, match="cannot be read"):
        read(str(tmp_path / "none"))
    with pytest.raises(AccountsError, match="cannot be read"):
        read(str(tmp_path))
    with pytest.raises(AccountsError, match="not a regular file"):
        read("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(AccountsError, match="not a regular file"):
        read(str(tmp_path / "fifo"))  # nobody writes to it: to wait for that would hang the server
    with file.open("a") as more:
        more.write("#" * (4 << 20))
    with pytest.raises(AccountsError, match="larger than 4 MiB"):
        read(str(file))


def test_a_viewer_is_found_by_name_and_by_token(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = Person("alice", "names", hash_token("a"))
    assert accounts.by_name("alice") == accounts.by_token("a") == alice
    assert accounts.by_name("bob") is accounts.by_token("b") is None
    assert accounts.is_current(alice)


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = accounts.by_name("alice")
    accounts.reload_if_changed()
    assert alice is not None and accounts.changes == 0
    file.write_text(ALICE.replace("names", "counts") + BOB)
    accounts.reload_if_changed()
    accounts.reload_if_changed()
    assert accounts.changes == 1
    assert not accounts.is_current(alice)
    assert len(accounts) == 2


def test_a_viewer_removed_and_added_again_is_a_different_person(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = accounts.by_name("alice")
    assert alice is not None
    let_file_clock_tick()
    file.write_text(f"alice names {hash_token('new')}\n")
    accounts.reload_if_changed()
    assert not accounts.is_current(alice) and accounts.by_token("a") is None


def test_a_file_that_becomes_readable_to_others_admits_nobody_until_fixed(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = Accounts(str(file))
    file.chmod(0o644)
    accounts.reload_if_changed()
    assert len(accounts) == 0
    assert caplog.text.count("chmod") == 1
    file.chmod(0o600)
    accounts.reload_if_changed()
    assert len(accounts) == 1 and accounts.changes == 2


def test_a_file_that_is_missing_for_a_moment_still_counts(file: Path, tmp_path: Path) -> None:
    accounts = Accounts(str(file))
    file.rename(tmp_path / "away")
    for _ in range(9):
        accounts.reload_for_newcomer()
    accounts.reload_if_changed()
    assert len(accounts) == 1
    accounts.reload_if_changed()
    assert len(accounts) == 0
    (tmp_path / "away").rename(file)
    accounts.reload_if_changed()
    assert len(accounts) == 1


def test_a_viewer_added_just_now_is_found(file: Path) -> None:
    accounts = Accounts(str(file))
    file.write_text(ALICE + BOB)
    assert accounts.by_name("bob") is None
    accounts.reload_for_newcomer()
    assert accounts.by_name("bob") is not None and accounts.changes == 1


def test_an_invalid_line_is_logged_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(ALICE + "nonsense\n")
    accounts = Accounts(str(file))
    os.utime(file, (1, 1))
    accounts.reload_if_changed()
    assert caplog.text.count("line 2: expected 3 fields") == 1
