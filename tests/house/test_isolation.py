"""Isolation of tests: no two runs share a port, and processes end with their test."""

import subprocess
import sys

import pytest

from tests.support.house import ROOT, free_ports, running


@pytest.mark.processes
def test_concurrent_runs_use_different_ports() -> None:
    ours = set(map(str, free_ports(50)))
    script = "from tests.support.house import free_ports; print(*free_ports(50))"
    theirs = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(theirs) == 50 and not ours & set(theirs)


@pytest.mark.processes
def test_a_process_does_not_outlive_the_test_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), running("sleep", "1000") as process:
        raise ZeroDivisionError
    assert process.returncode == -9


def test_only_a_test_with_the_mark_starts_a_process() -> None:
    with pytest.raises(AssertionError, match="starts a process and lacks the mark 'processes'"):
        subprocess.run([sys.executable, "-c", ""], check=True)
