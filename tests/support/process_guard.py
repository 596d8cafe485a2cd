"""Keeps tests that start processes apart, so that `make quick` can leave them out.

A fixture that starts processes requests `processes`, which marks every test that uses it. A test
that starts them itself has `@pytest.mark.processes`. No other test can start one.
"""

import sys
from collections.abc import Generator

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
MARKS = ("processes", "browser")

_running: list[pytest.Item] = []


@pytest.fixture(scope="session")
def processes() -> None:
    """Mark every test whose fixtures request this one: it starts processes."""


def pytest_configure() -> None:
    sys.addaudithook(_refuse_unmarked)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark before pytest selects by mark."""
    for item in items:
        if isinstance(item, pytest.Function) and "processes" in item.fixturenames:
            item.add_marker("processes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _refuse_unmarked(event: str, _: object) -> None:
    """An audit hook: if it raises, the process does not start. It cannot be removed."""
    if event not in STARTS or not _running:
        return
    item = _running[-1]
    if not any(item.get_closest_marker(mark) for mark in MARKS):
        raise AssertionError(f"{item.nodeid} starts a process and lacks the mark 'processes'")
