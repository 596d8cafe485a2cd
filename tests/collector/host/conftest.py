"""Processes that tests start and end."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import DEADLINE, Child


@pytest.fixture
def child(processes: None) -> Iterator[Child]:
    """Starts processes that sleep, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["python train.py", "600"], executable="/bin/sleep")
        started.append(process)
        give_up_at = time.monotonic() + DEADLINE
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is still about to exec
            assert time.monotonic() < give_up_at
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
