"""Keeps tests that start processes apart, so that `make quick` can leave them out.

A fixture that starts processes asks for `processes`, and so marks every test that uses it. A test
that starts them by itself carries `@pytest.mark.processes`. Any other test cannot start one.
"""

import sys
from collections.abc import Generator

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
MARKS = ("processes", "browser")

_running: list[pytest.Item] = []


@pytest.fixture(scope="session")
def processes() -> None:
    """Marks the tests of whatever fixture asks for it: they start processes."""


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
    """An audit hook: what it raises, the start raises. It stays for the life of this process."""
    if event not in STARTS or not _running:
        return
    item = _running[-1]
    if not any(item.get_closest_marker(mark) for mark in MARKS):
        raise AssertionError(f"{item.nodeid} starts a process and lacks the mark 'processes'")
