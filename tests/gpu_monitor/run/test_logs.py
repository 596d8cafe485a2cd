"""Log lines in the format that their reader expects."""

import logging
import os
import re
import socket
import sys

import pytest

from gpu_monitor.run.logs import JournalFormatter, LineFormatter, is_journal


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("broker.main", level, __file__, 1, text, None, None)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)],
)
def test_the_journal_gets_a_priority_and_no_time(level: int, priority: int) -> None:
    assert JournalFormatter().format(record(level, "up")) == f"<{priority}>broker.main: up"


def test_every_line_of_a_traceback_has_a_priority() -> None:
    failed = record(logging.ERROR, "failed")
    try:
        raise ValueError("no")
    except ValueError:
        failed.exc_info = sys.exc_info()
    lines = JournalFormatter().format(failed).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


def test_a_terminal_gets_time_level_and_module() -> None:
    line = LineFormatter().format(record(logging.WARNING, "stale: node1"))
    assert re.fullmatch(r"[0-9-]{10} [0-9:]{8} WARNING broker\.main: stale: node1", line)


def test_the_journal_is_recognised_by_the_socket_that_systemd_names() -> None:
    with socket.socket() as own, socket.socket() as other:
        stat = os.fstat(own.fileno())
        name = f"{stat.st_dev}:{stat.st_ino}"
        assert is_journal(name, own.fileno())
        assert not is_journal(name, other.fileno())
        assert not is_journal("", own.fileno())
    assert not is_journal(name, -1)
