"""Sources of readings that may fail: a failure costs that reading, and nothing else."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from gpu_monitor.collector.findings import Finding

log = logging.getLogger(__name__)

FAILURES_TO_REPORT = 3
"""A source that has failed in this many snapshots in a row is a finding."""
MAX_LOGGED_FAILURES = 256

Reading = TypeVar("Reading")
Default = TypeVar("Default")


class SourceGuard:
    """Reads sources by name, and counts the snapshots in which each has failed.

    Any exception counts as a failure; only what ends a program on purpose (SystemExit,
    KeyboardInterrupt) passes. The first one of its type from each source is logged, with its
    traceback. May be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}
        self._succeeded: set[str] = set()
        self._failures: dict[str, tuple[int, str]] = {}
        self._logged: set[tuple[str, type[Exception]]] = set()

    def attempt(
        self, source: str, read: Callable[[], Reading], otherwise: Default
    ) -> Reading | Default:
        """What `read` returns; `otherwise` when it raises. `source` is what it reads, in words."""
        try:
            reading = read()
        except Exception as error:
            self.count_failure(source, failure_text(error))
            self._log_once(source, error)
            return otherwise
        self.count_success(source)
        return reading

    def count_failure(self, source: str, words: str) -> None:
        """Count a failure that was caught and logged elsewhere."""
        with self._lock:
            self._failed[source] = words

    def count_success(self, source: str) -> None:
        """Count a success; in a snapshot with a failure of the same source it has no effect."""
        with self._lock:
            self._succeeded.add(source)

    def _log_once(self, source: str, error: Exception) -> None:
        with self._lock:
            key = (source, type(error))
            is_new = key not in self._logged and len(self._logged) < MAX_LOGGED_FAILURES
            if is_new:
                self._logged.add(key)
        if is_new:
            log.error("%s: not read", source, exc_info=error)

    def settle(self) -> list[Finding]:
        """Once per snapshot: the sources that keep failing.

        A source that was not read since the last call, such as one that is read every 5 s, keeps
        its count.
        """
        with self._lock:
            failed, self._failed = self._failed, {}
            succeeded, self._succeeded = self._succeeded, set()
        for source in succeeded - failed.keys():
            self._failures.pop(source, None)
        for source, words in failed.items():
            count, _ = self._failures.get(source, (0, ""))
            self._failures[source] = (count + 1, words)
        return [
            Finding("source_error", "warning", f"{source} cannot be read: {words}", key=source)
            for source, (count, words) in self._failures.items()
            if count >= FAILURES_TO_REPORT
        ]


def failure_text(error: Exception) -> str:
    """An exception in words: the system's for an OSError, else its type and message."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    name, message = type(error).__name__, str(error)
    return f"{name}: {message}" if message else name
