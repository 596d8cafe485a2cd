"""What the tests stand on: ports that no run takes from another, processes that end with a test."""

import subprocess
import sys

import pytest

from tests.support.house import ROOT, free_ports, running


def test_a_run_beside_this_one_has_other_ports() -> None:
    ours = set(map(str, free_ports(50)))
    script = "from tests.support.house import free_ports; print(*free_ports(50))"
    theirs = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(theirs) == 50 and not ours & set(theirs)


def test_a_process_does_not_outlive_the_test_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), running("sleep", "1000") as process:
        raise ZeroDivisionError
    assert process.returncode == -9
