"""The page on installation problems quotes messages that exist, and covers those of the driver."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from gpu_monitor.collector.gpu.nvml_errors import words, words_unopened
from tests.support.house import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SECTION = OPERATIONS.partition("## Installation problems\n")[2].partition("\n## ")[0]
QUOTED = [
    phrase
    for line in re.findall(r'^\| (".+?") \|', SECTION, re.MULTILINE)
    for phrase in re.findall(r'"([^"]+)"', line)
]
KEEP_A_GPU_FROM_BEING_READ = [4, 8, 9, 12, 14, 15, 16, 17, 18, 23, 27, 28, 29, 999]
"""NVML's errors after which the host's setup or its hardware needs attention."""


@cache
def messages() -> list[str]:
    """All texts in the code of the collector and of the check; … is what is filled in."""
    files = [*(ROOT / "collector").rglob("*.py"), ROOT / "gpu_monitor" / "commands/check_gpus.py"]
    return [text for file in files for text in texts(ast.parse(file.read_text()))]


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) == len(set(QUOTED)) >= 20


@pytest.mark.parametrize("phrase", QUOTED)
def test_a_quoted_message_is_one_of_the_collectors(phrase: str) -> None:
    assert any(phrase in message for message in messages())


@pytest.mark.parametrize("code", KEEP_A_GPU_FROM_BEING_READ)
def test_an_error_that_needs_attention_is_on_the_page(code: int) -> None:
    for message in (words(code), words_unopened(code)):
        assert any(phrase in message for phrase in QUOTED), message
