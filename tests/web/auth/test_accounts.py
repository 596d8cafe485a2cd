"""The viewers' file: what a line may be, and when it is read again."""

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
    people, wrong = parse(f"# words\n\n{ALICE}{BOB}proxied commands -\n")
    assert wrong == []
    assert people[0] == Person("alice", "names", hash_token("a"))
    assert [(person.name, person.role) for person in people[1:]] == [
        ("bob", "counts"),
        ("proxied", "commands"),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alice", "1 words stand here"),
        ("alice names", "2 words stand here"),
        ("alice names - more", "4 words stand here"),
        ("alice root -", "'root' is no role; write counts, names or commands"),
        ("al:ice names -", "'al:ice' is no name"),
        ("alice names sha256:12", "the hash of alice is broken"),
        (ALICE + ALICE, "line 2: alice stands there already"),
    ],
)
def test_a_wrong_line_is_named_and_lets_nobody_in(line: str, words: str) -> None:
    people, wrong = parse(line + "\n" + BOB)
    assert words in wrong[0] and wrong[0].startswith("line ")
    assert people[-1].name == "bob"


@given(st.text())
def test_any_text_is_viewers_and_wrong_lines(text: str) -> None:
    people, _ = parse(text)
    assert all(is_name(person.name) for person in people)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "#a", "a\n", "a\x00", "\udcff", "x" * 129])
def test_some_names_cannot_stand_in_the_file(name: str) -> None:
    assert not is_name(name)


def test_names_of_directories_and_mail_are_names() -> None:
    assert all(map(is_name, ["alice", "alice@example.org", "LAB\\alice", "zoë", "a.b-c_d#1"]))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o620, 0o666])
def test_a_file_that_others_can_read_or_change_is_refused_with_a_remedy(
    file: Path, mode: int
) -> None:
    file.chmod(mode)
    with pytest.raises(AccountsError, match=f"chmod o=,g-w {file}"):
        read(str(file))


def test_a_file_of_root_and_the_service_s_group_is_taken(file: Path) -> None:
    file.chmod(0o640)
    assert read(str(file)) == ALICE


def test_what_is_no_readable_file_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(AccountsError, match="cannot be read"):
        read(str(tmp_path / "none"))
    with pytest.raises(AccountsError, match="cannot be read"):
        read(str(tmp_path))
    with pytest.raises(AccountsError, match="is no file"):
        read("/dev/null")
    with file.open("a") as more:
        more.write("#" * (4 << 20))
    with pytest.raises(AccountsError, match="over 4 MiB"):
        read(str(file))


def test_a_viewer_is_found_by_name_and_by_token(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = Person("alice", "names", hash_token("a"))
    assert accounts.by_name("alice") == accounts.by_token("a") == alice
    assert accounts.by_name("bob") is accounts.by_token("b") is None
    assert accounts.holds(alice)


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = accounts.by_name("alice")
    accounts.refresh()
    assert alice is not None and accounts.changes == 0
    file.write_text(ALICE.replace("names", "counts") + BOB)
    accounts.refresh()
    accounts.refresh()
    assert accounts.changes == 1
    assert not accounts.holds(alice)
    assert len(accounts) == 2


def test_one_who_is_removed_and_added_again_is_another(file: Path) -> None:
    accounts = Accounts(str(file))
    alice = accounts.by_name("alice")
    assert alice is not None
    let_file_clock_tick()
    file.write_text(f"alice names {hash_token('new')}\n")
    accounts.refresh()
    assert not accounts.holds(alice) and accounts.by_token("a") is None


def test_a_file_that_others_could_read_since_lets_nobody_in_until_it_is_mended(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = Accounts(str(file))
    file.chmod(0o644)
    accounts.refresh()
    assert len(accounts) == 0
    assert caplog.text.count("chmod") == 1
    file.chmod(0o600)
    accounts.refresh()
    assert len(accounts) == 1 and accounts.changes == 2


def test_a_file_that_is_away_for_a_moment_is_waited_for(file: Path, tmp_path: Path) -> None:
    accounts = Accounts(str(file))
    file.rename(tmp_path / "away")
    for _ in range(9):
        accounts.refresh_for_newcomer()
    accounts.refresh()
    assert len(accounts) == 1
    accounts.refresh()
    assert len(accounts) == 0
    (tmp_path / "away").rename(file)
    accounts.refresh()
    assert len(accounts) == 1


def test_one_who_was_added_just_now_is_known(file: Path) -> None:
    accounts = Accounts(str(file))
    file.write_text(ALICE + BOB)
    assert accounts.by_name("bob") is None
    accounts.refresh_for_newcomer()
    assert accounts.by_name("bob") is not None and accounts.changes == 1


def test_wrong_lines_are_said_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text(ALICE + "nonsense\n")
    accounts = Accounts(str(file))
    os.utime(file, (1, 1))
    accounts.refresh()
    assert caplog.text.count("line 2: 1 words stand here") == 1
