"""Logging to stderr, in the format that its reader expects."""

import logging
import os
import sys

LOG_LEVELS = ("debug", "info", "warning", "error")

_PRIORITIES = {
    logging.CRITICAL: "<2>",
    logging.ERROR: "<3>",
    logging.WARNING: "<4>",
    logging.INFO: "<6>",
    logging.DEBUG: "<7>",
}


class JournalFormatter(logging.Formatter):
    """Lines for journald: with a priority (sd-daemon(3)) and without a time."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, "<6>")
        return "\n".join(priority + line for line in super().format(record).splitlines())


class LineFormatter(logging.Formatter):
    """Lines for a terminal or a file: time, level, module, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")


def set_up(level: str) -> None:
    """Send log records from `level` up to stderr; called once, at the start."""
    handler = logging.StreamHandler(sys.stderr)
    journal = is_journal(os.environ.get("JOURNAL_STREAM", ""), sys.stderr.fileno())
    handler.setFormatter(JournalFormatter() if journal else LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def is_journal(journal_stream: str, fd: int) -> bool:
    """Whether `fd` is the socket that JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        stat = os.fstat(fd)
    except OSError:
        return False
    return journal_stream == f"{stat.st_dev}:{stat.st_ino}"
