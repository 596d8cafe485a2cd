"""wire.gpu_labels: GPUs by their index, MIG slices by that of their GPU and their own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.gpu_labels import gpu_labels
from tests.support.house import ROOT

VECTORS = json.loads((ROOT / "tests" / "gpu_label_vectors.json").read_text())
"""The page's tests read them, too."""


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: str(case["name"]))
def test_labels_follow_the_index(case: dict[str, Any]) -> None:
    assert gpu_labels(case["index"], case["parent"]) == case["labels"]


@given(st.dictionaries(st.integers(0, 99), st.sets(st.integers(0, 7)), max_size=8))
def test_no_two_rows_share_a_label(slices_by_gpu: dict[int, set[int]]) -> None:
    index: list[int | None] = []
    parent: list[int | None] = []
    for gpu, slices in slices_by_gpu.items():
        row = len(index)
        index += [gpu, *slices]
        parent += [None, *(row for _ in slices)]

    labels = gpu_labels(index, parent)

    assert len(set(labels)) == len(index)
