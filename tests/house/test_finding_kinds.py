"""Every finding that is made has a kind of the list, and every kind of the list is made."""

import ast
from pathlib import Path

from gpu_monitor.wire.document import FINDING_KINDS, HEALTH_KINDS

ROOT = Path(__file__).parent.parent.parent
MAKERS = {"Finding", "Finding.of_text", "Fault", "BrokerFinding"}


def kinds_made(room: str) -> set[str]:
    """The constants that are the first argument wherever a finding is made in a room."""
    made = set()
    for file in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    made.add(first.value)
    return made


def test_collector_and_broker_make_exactly_the_kinds_of_the_list() -> None:
    assert kinds_made("collector") | kinds_made("broker") == FINDING_KINDS


def test_the_demo_makes_none_that_does_not_exist() -> None:
    assert kinds_made("gpu_monitor/demo") <= FINDING_KINDS


def test_the_kinds_about_a_card_are_kinds() -> None:
    assert HEALTH_KINDS < FINDING_KINDS
