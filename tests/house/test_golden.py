"""The product's output equals the files in tests/golden/, byte for byte.

tests/support/goldens.py makes the files and says how to renew them.
"""

import json
from difflib import unified_diff
from functools import reduce
from typing import Any

import pytest

from gpu_monitor.wire.patch import merge
from tests.support.goldens import FOLDER, OUTPUTS, demo_stream, made


@pytest.mark.parametrize("file", OUTPUTS)
def test_output_equals_the_golden_file(file: str) -> None:
    golden, latest = (FOLDER / file).read_bytes(), made(file)
    if latest != golden:
        old, new = (text.decode().splitlines(keepends=True) for text in (golden, latest))
        pytest.fail("".join(unified_diff(old, new, f"golden/{file}", "now")), pytrace=False)


def test_golden_patches_lead_from_the_golden_document_to_the_last_one() -> None:
    stream = demo_stream()
    assert reduce(merge, stream.patches, stream.document) == stream.last


def test_golden_patches_cover_a_stale_and_a_forgotten_host_and_a_refusal() -> None:
    patches: list[dict[str, Any]] = json.loads((FOLDER / "patches.json").read_text())
    silent = [patch["hosts"]["node07"] for patch in patches if "node07" in patch.get("hosts", {})]
    assert silent[-1] is None
    assert silent[-2]["state"] == "stale"
    assert any("refused" in patch.get("broker", {}) for patch in patches)


def test_every_golden_configuration_is_refused() -> None:
    cases: list[dict[str, Any]] = json.loads((FOLDER / "refusals.json").read_text())
    assert [case for case in cases if not case["lines"]] == []
