"""`gpu-monitor viewers`: what it writes, prints and refuses."""

import contextlib
import os
import pty
import re
import stat
import subprocess
from pathlib import Path

import pytest

from gpu_monitor.__main__ import BAD_CONFIG, OK, main
from gpu_monitor.web.auth.accounts import parse
from gpu_monitor.web.auth.hashing import hash_token, is_password
from tests.support.house import COMMAND, PATIENCE_SECONDS, ROOT, running


class Desk:
    """A folder with a config.yml, and the command run there."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.folder = folder
        self.viewers = folder / "viewers"
        self.config = folder / "config.yml"
        proxies = "trusted_proxies: ['127.0.0.1']\n" if mode == "proxy" else ""
        self.config.write_text(f"sign_in: {mode}\nviewers: viewers\n{proxies}")

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "viewers", *arguments, "--config", str(self.config)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )

    def lines(self) -> list[str]:
        return self.viewers.read_text().splitlines()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, "token")


@pytest.mark.processes
def test_only_a_token_is_printed_and_only_its_hash_is_stored(desk: Desk) -> None:
    done = desk.run("add", "alice", "--role", "names")
    token = done.stdout.strip()
    assert done.returncode == OK and re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert desk.lines() == [f"alice names {hash_token(token)}"]
    assert token not in done.stderr and "sees names" in done.stderr
    assert stat.S_IMODE(desk.viewers.stat().st_mode) == 0o600
    assert sorted(os.listdir(desk.folder)) == ["config.yml", "viewers"]


@pytest.mark.processes
def test_the_default_role_comes_from_config_yml(desk: Desk) -> None:
    with desk.config.open("a") as config:
        config.write("viewer_role: counts\n")
    desk.run("add", "alice")
    assert desk.lines()[0].startswith("alice counts ")


@pytest.mark.processes
def test_a_password_is_read_from_standard_input_and_never_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "basic")
    done = desk.run("add", "alice", stdin="a long password\n")
    ((person,), _) = parse(desk.viewers.read_text())
    assert is_password("a long password", person.secret)
    assert done.stdout == "" and "password" not in done.stderr


@pytest.mark.processes
def test_a_terminal_is_prompted_twice_for_a_password_without_echo(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "basic")
    terminal, its = pty.openpty()
    command = [*COMMAND, "viewers", "add", "alice", "--config", str(desk.config)]
    seen = b""
    with running(*command, stdin=its, stdout=its, stderr=its, start_new_session=True) as asking:
        os.close(its)
        for prompt in (b"Password for alice: ", b"Once more: "):
            while not seen.endswith(prompt):
                seen += os.read(terminal, 1024)
            os.write(terminal, b"a long password\n")
        with contextlib.suppress(OSError):  # the terminal has closed
            while data := os.read(terminal, 1024):
                seen += data
        assert asking.wait(PATIENCE_SECONDS) == OK
    os.close(terminal)
    assert b"a long password" not in seen
    ((person,), _) = parse(desk.viewers.read_text())
    assert is_password("a long password", person.secret)


@pytest.mark.processes
def test_with_a_proxy_a_viewer_has_no_secret(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "proxy")
    assert desk.run("add", "alice@example.org").stdout == ""
    assert desk.lines() == ["alice@example.org commands -"]


@pytest.mark.processes
def test_viewers_are_listed_without_their_hashes(desk: Desk) -> None:
    desk.viewers.touch(0o600)
    desk.viewers.write_text(f"# the lab\nalice names {hash_token('a')}\nbo commands -\nrubbish\n")
    done = desk.run("list")
    assert done.stdout == "alice  names     token\nbo     commands  none\n"
    assert "line 4: expected 3 fields (name, role, hash), found 1" in done.stderr


@pytest.mark.processes
def test_removing_a_viewer_keeps_the_rest_of_the_file(desk: Desk) -> None:
    desk.viewers.touch(0o640)
    desk.viewers.chmod(0o640)
    desk.viewers.write_text(f"# the lab\nalice names {hash_token('a')}\nbob counts -")
    assert desk.run("remove", "alice").returncode == OK
    assert desk.viewers.read_text() == "# the lab\nbob counts -\n"
    assert stat.S_IMODE(desk.viewers.stat().st_mode) == 0o640
    desk.run("add", "carol", "--role", "counts")
    assert desk.lines()[1:][0] == "bob counts -" and desk.lines()[2].startswith("carol counts ")


REFUSED = [
    (("remove", "nobody"), "no viewer 'nobody'"),
    (("add", "alice"), "alice is already a viewer; remove alice first"),
    (("add", "a b"), "'a b' is not a valid name"),
    (("add", "a:b"), "'a:b' is not a valid name"),
    (("add", "#a"), "'#a' is not a valid name"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_an_impossible_action_is_refused_with_a_reason(
    desk: Desk, arguments: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.viewers.touch(0o600)
    desk.viewers.write_text(f"alice names {hash_token('a')}\n")
    assert main(["viewers", *arguments, "--config", str(desk.config)]) == BAD_CONFIG
    assert words in capfd.readouterr().err
    assert desk.lines() == [f"alice names {hash_token('a')}"]


@pytest.mark.processes
@pytest.mark.parametrize("password", ["", "short\n"])
def test_a_password_that_is_too_short_is_refused(tmp_path: Path, password: str) -> None:
    desk = Desk(tmp_path, "basic")
    done = desk.run("add", "alice", stdin=password)
    assert done.returncode == BAD_CONFIG and "at least 8 characters" in done.stderr
    assert not desk.viewers.exists()


def test_a_config_without_viewers_or_sign_in_is_refused_with_the_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yml"
    for text, words in (
        ("", "write viewers: viewers"),
        ("viewers: v\n", "sign_in: none needs no viewers"),
    ):
        config.write_text(text)
        assert main(["viewers", "add", "alice", "--config", str(config)]) == BAD_CONFIG
        assert words in capfd.readouterr().err


def test_a_file_that_others_can_read_is_refused(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.viewers.touch()
    desk.viewers.chmod(0o644)
    for action in (["list"], ["add", "bob"], ["remove", "bob"]):
        assert main(["viewers", *action, "--config", str(desk.config)]) == BAD_CONFIG
        assert f"chmod o=,g-w {desk.viewers}" in capfd.readouterr().err


@pytest.mark.processes
def test_viewers_added_concurrently_are_all_kept(desk: Desk) -> None:
    command = [*COMMAND, "viewers", "add"]
    running = [
        subprocess.Popen(
            [*command, f"v{number}", "--config", str(desk.config)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(6)
    ]
    assert [process.wait(60) for process in running] == [OK] * 6
    assert sorted(line.split()[0] for line in desk.lines()) == [f"v{n}" for n in range(6)]


def test_a_missing_folder_is_named(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    desk.config.write_text("sign_in: token\nviewers: none/viewers\n")
    assert main(["viewers", "add", "alice", "--config", str(desk.config)]) == BAD_CONFIG
    assert "check that its folder exists" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["web", "up", "demo"])
def test_no_page_is_served_with_an_unusable_viewers_file(
    desk: Desk, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--config", str(desk.config)]) == BAD_CONFIG
    assert "viewers: " in capfd.readouterr().err
