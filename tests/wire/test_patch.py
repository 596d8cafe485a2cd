"""wire.patch: RFC 7396's own examples, and that comparing then merging gives the new document."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.patch import compare, merge, same

EXAMPLES = json.loads((Path(__file__).parent.parent / "rfc7396.json").read_text())

scalars = st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3)
arrays = st.lists(scalars | st.none() | st.lists(scalars, max_size=2), max_size=4)
keys = st.sampled_from(["a", "b", "c", "__proto__", ""])
documents = st.dictionaries(
    keys, st.recursive(scalars | arrays, lambda inner: st.dictionaries(keys, inner, max_size=4))
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: json.dumps(example["patch"]))
def test_every_example_of_the_rfc_gives_its_result(example: dict[str, Any]) -> None:
    assert same(merge(example["original"], example["patch"]), example["result"])


@given(documents, documents)
def test_the_patch_between_two_documents_makes_the_second_of_the_first(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert same(merge(old, compare(old, new)), new)


@given(documents, documents)
def test_neither_comparing_nor_merging_changes_what_is_passed_in(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before = copy.deepcopy((old, new))
    merge(old, compare(old, new))
    assert (old, new) == before


@given(documents)
def test_equal_documents_have_an_empty_patch(document: dict[str, Any]) -> None:
    assert compare(document, copy.deepcopy(document)) == {}


@given(documents, documents)
def test_a_patch_contains_nothing_that_did_not_change(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    patch = compare(old, new)
    assert not [k for k in patch if k in old and k in new and same(old[k], new[k])]


def test_true_and_one_differ_even_inside_arrays() -> None:
    assert compare({"a": 1, "b": [True, [0]]}, {"a": True, "b": [1, [False]]}) == {
        "a": True,
        "b": [1, [False]],
    }


def test_members_that_a_patch_does_not_name_are_shared_with_the_old_document() -> None:
    old = {"hosts": {"one": {"gpus": [1]}, "two": {"gpus": [2]}}}
    new = merge(old, {"hosts": {"two": {"gpus": [3]}}})
    assert new["hosts"]["one"] is old["hosts"]["one"]
