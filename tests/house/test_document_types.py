"""tools/document_types.py: the page's types of the document are those that the wire declares."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from gpu_monitor.wire.document import (
    DISK_COLUMNS,
    FINDING_COLUMNS,
    FINDING_KINDS,
    GPU_COLUMNS,
    HEALTH_KINDS,
    PROCESS_COLUMNS,
    SEVERITIES,
    SYSTEM_FIELDS,
    USE_COLUMNS,
)
from tests.support.house import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("document_types")


def names(text: str, interface: str) -> list[str]:
    """The members of one interface."""
    found = re.search(rf"interface {interface} {{\n(.*?)\n}}", text, re.DOTALL)
    assert found is not None
    return re.findall(r"^  (\w+)\??:", found[1], re.MULTILINE)


def test_the_committed_types_match_the_wire(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "run: python tools/document_types.py"


def test_every_column_and_field_has_a_type(tool: ModuleType) -> None:
    text = tool.TARGET.read_text()
    assert names(text, "Gpus") == [*GPU_COLUMNS, *USE_COLUMNS]
    assert names(text, "Processes") == [*PROCESS_COLUMNS]
    assert names(text, "Disks") == [*DISK_COLUMNS]
    assert names(text, "Findings") == [*FINDING_COLUMNS]
    assert names(text, "System") == [*SYSTEM_FIELDS]


def test_a_check_of_outdated_types_fails_and_names_the_remedy(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "document.d.ts"
    assert tool.main(["--check"], target) == 1
    assert "python tools/document_types.py" in capsys.readouterr().out
    assert tool.main([], target) == 0
    assert tool.main(["--check"], target) == 0


def page_words(module: str, constant: str) -> list[str]:
    """The keys or texts of a constant of the page's module frontend/app/state/`module`.js."""
    text = (ROOT / "frontend" / "app" / "state" / f"{module}.js").read_text()
    found = re.search(rf"const {constant} = (.*?);\n", text, re.DOTALL)
    assert found is not None
    return re.findall(r"^  (\w+):", found[1], re.MULTILINE) or re.findall(r'"(\w+)"', found[1])


def test_the_page_has_words_for_every_kind_of_finding() -> None:
    assert set(page_words("findings", "MEANINGS")) == FINDING_KINDS
    assert page_words("findings", "SEVERITIES") == list(SEVERITIES)
    assert set(page_words("states", "HEALTH_KINDS")) == HEALTH_KINDS
