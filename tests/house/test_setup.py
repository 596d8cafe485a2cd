"""tools/setup on machines that lack something: its messages, and what it leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.house import ROOT

TOOLS = ("sh", "cat", "cksum", "dirname", "rm", "ln", "mkdir")


class Machine:
    """A copy of the script in an empty project, and a PATH with only the commands put there."""

    def __init__(self, folder: Path) -> None:
        self.project, self.bin = folder / "project", folder / "bin"
        (self.project / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / "tools" / "setup", self.project / "tools")
        (self.project / "setup.cfg").write_text("[metadata]\nname = nothing\n")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.put("id", "echo 1000")

    def put(self, name: str, script: str) -> None:
        """Create a command of that name."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def put_python(self, *refuse: str) -> None:
        """Create a python3 that fails if its arguments contain one of `refuse`, else works."""
        cases = "".join(f'*"{words}"*) exit 1;; ' for words in refuse)
        self.put("python3", f'case "$*" in {cases}esac\nexec {sys.executable} "$@"')

    def set_up(self, what: str = "run") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.project / "tools" / "setup"), what],
            env={"PATH": str(self.bin), "PIP_NO_INDEX": "1", "HOME": str(self.project)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def leaves_no_venv(self) -> bool:
        return not (self.project / ".venv").exists()


@pytest.fixture
def machine(tmp_path: Path, processes: None) -> Machine:
    return Machine(tmp_path)


def test_without_python_the_command_to_run_is_printed(machine: Machine) -> None:
    machine.put("apt-get", "exit 1")
    answer = machine.set_up()
    assert answer.returncode == 1
    assert (
        "Python 3.10 or newer is missing; run this, then make again:  sudo apt-get install -y"
        in (answer.stderr)
    )


def test_without_a_known_package_manager_the_missing_package_is_named(machine: Machine) -> None:
    answer = machine.set_up()
    assert answer.returncode == 1
    assert "Python 3.10 or newer is missing; install it, then run make again" in answer.stderr


def test_an_old_python_is_rejected(machine: Machine) -> None:
    machine.put_python("version_info")
    assert "Python 3.10 or newer is missing" in machine.set_up().stderr


def test_without_the_venv_module_the_command_to_run_is_printed(machine: Machine) -> None:
    machine.put("apt-get", "exit 1")
    machine.put_python("ensurepip")
    answer = machine.set_up()
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert answer.returncode == 1
    assert f"sudo apt-get install -y --no-install-recommends {package}" in answer.stderr
    assert machine.leaves_no_venv()


def test_root_installs_what_is_missing_and_retries_with_fresh_package_lists(
    machine: Machine,
) -> None:
    machine.put("id", "echo 0")
    machine.put_python("ensurepip", "-m venv")
    log = machine.project / "log"
    fails_once = f'[ "$1" = update ] || [ -e {log}2 ] || {{ >{log}2; exit 1; }}'
    machine.put("apt-get", f'echo "$1" >>{log}; {fails_once}')
    machine.set_up()
    assert log.read_text().split() == ["install", "update", "install"]


def test_a_failure_halfway_leaves_no_venv(machine: Machine) -> None:
    half_made = "mkdir -p .venv/bin; ln -s /bin/false .venv/bin/python"
    machine.put("python3", f'case "$*" in "-m venv .venv") {half_made};; esac')
    answer = machine.set_up()
    assert answer.returncode != 0
    assert "failed: .venv removed again" in answer.stderr
    assert machine.leaves_no_venv()


@pytest.mark.parametrize("made_at", ["/elsewhere", None])
def test_a_moved_venv_is_made_again(machine: Machine, made_at: str | None) -> None:
    machine.put_python("-m venv")
    venv = machine.project / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    if made_at is not None:
        (venv / "made-at").write_text(made_at)
    answer = machine.set_up()
    assert ("making .venv" in answer.stderr) == (made_at is not None)


@pytest.mark.processes
def test_nothing_is_done_when_everything_is_installed() -> None:
    stamp = ROOT / ".venv" / "stamp-run"
    with (ROOT / "setup.cfg").open() as file:
        current = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True).stdout
    if not stamp.exists() or stamp.read_text() != current:
        pytest.skip("tools/setup has not made this environment for this setup.cfg")
    before = stamp.stat().st_mtime
    answer = subprocess.run(
        [str(ROOT / "tools" / "setup"), "run"], env=os.environ, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert stamp.stat().st_mtime == before
