"""One lab for all tests in this folder, which build on each other and run in order."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.bed import Bed, missing, mounts, namespaces, processes_of
from tests.lab.fleet import Fleet
from tests.lab.tree import BUILDS
from tests.support.house import ROOT

FIGURES = BUILDS / "figures.json"
_figures: dict[str, object] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker("processes")
    reason = missing()
    if reason:
        print(f"\nlab: NOT RUN: {reason}")
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"the lab cannot run here: {reason}"))


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The machines; nothing of them may remain afterwards."""
    made = Bed()
    try:
        made.up()
        yield made
    finally:
        made.down()
    assert (mounts(made.id), namespaces(made.id), processes_of([made.id])) == ([], [], [])


@pytest.fixture(scope="session")
def fleet(bed: Bed) -> Fleet:
    made = Fleet(bed)
    made.set_up()
    return made


@pytest.fixture(scope="session")
def figures() -> dict[str, object]:
    """Measurements; printed at the end, and kept in build/lab/figures.json."""
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(_figures, indent=2) + "\n")
        terminalreporter.section(f"the lab's figures ({FIGURES.relative_to(ROOT)})")
        for name, value in _figures.items():
            terminalreporter.write_line(f"{name}: {value}")
