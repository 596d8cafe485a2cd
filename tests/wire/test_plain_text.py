"""wire.plain_text: whatever a collector sends is one line that shows all of its characters."""

import sys
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.document import TABLES, Kind
from gpu_monitor.wire.full_reader import SHARED_COLUMNS
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, WireError
from gpu_monitor.wire.plain_text import plain_column, plain_text, plain_words
from gpu_monitor.wire.schema import PARTS
from tests.support.snapshots import (
    check_snapshot,
    make_findings,
    make_gpus,
    make_processes,
    make_snapshot,
)

FORGED = "a\nnode2 GPU-1\r\x1b[2J\x9b1m\x85\u2028\u2029\u202eb\u2066c\x00"
CLEANED = "a\ufffdnode2 GPU-1\ufffd\ufffd[2J\ufffd1m\ufffd\ufffd\ufffd\ufffdb\ufffdc\ufffd"
_DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
_REFUSED_SIGNS = {
    sign
    for sign in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(sign) in {"Cc", "Zl", "Zp"}
    or unicodedata.bidirectional(sign) in _DIRECTIONS
    or sign in "\u061c\u200e\u200f\u200b\u2060\ufeff\xad"
}


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *texts_in(list(value.values()))]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


def test_every_character_that_breaks_hides_or_turns_a_line_is_replaced() -> None:
    assert len(_REFUSED_SIGNS) > 65 + 2 + len(_DIRECTIONS)
    assert {plain_text(sign) for sign in _REFUSED_SIGNS} == {"\ufffd"}


@given(st.text())
def test_plain_text_keeps_its_length_and_every_other_character(text: str) -> None:
    plain = plain_text(text)
    assert len(plain) == len(text) and not _REFUSED_SIGNS & set(plain)
    assert all(now in (before, "\ufffd") for before, now in zip(text, plain, strict=True))
    assert len(plain.splitlines()) <= 1 and plain_text(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node1",
        "a b",
        "Ärger 東京 😀",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "👩\u200d💻",
        "a\xa0b\u3000c",
        "שלום",
    ],
)
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert plain_text(text) == text


def test_columns_keep_what_is_not_known() -> None:
    assert plain_column([None, "a\n", ""]) == [None, "a\ufffd", ""]
    assert plain_words([None, [], ["a", "\x1b"]]) == [None, [], ["a", "\ufffd"]]
    column = [None, "a", "b"]
    assert plain_column(column) is column


def forged_snapshot() -> dict[str, Any]:
    """A snapshot whose every text of its sender's choice holds control characters."""
    gpus = make_gpus(2)
    for key, kind in TABLES["gpus"].items():
        if kind is Kind.TEXT and key not in ("state", "health", "activity"):
            gpus[key] = [FORGED, None]
    gpus |= {"throttle": [[FORGED], []], "health_reasons": [["x", FORGED], []]}
    processes = make_processes()
    for key, kind in TABLES["processes"].items():
        if kind is Kind.TEXT and key != "type":
            processes[key] = [FORGED]
    fields = {
        part: {key: FORGED for key, kind in PARTS[part].items() if kind is Kind.TEXT}
        for part in ("system", "collector")
    }
    disks = {"mount": [FORGED], "total_mib": [1], "used_mib": [1]}
    findings = make_findings("xid", words=[FORGED], advice=[FORGED])
    tables = {"gpus": gpus, "processes": processes, "disks": disks, "findings": findings}
    return make_snapshot() | tables | fields


def test_no_member_of_a_snapshot_carries_a_control_character_past_the_check() -> None:
    snapshot = check_snapshot(forged_snapshot())
    plain = texts_in(snapshot)
    assert not [text for text in plain if _REFUSED_SIGNS & set(text)]
    expected = sum(kind in (Kind.TEXT, Kind.WORDS) for of in PARTS.values() for kind in of.values())
    assert plain.count(CLEANED) == expected - len(
        {"gpus.state", "gpus.health", "gpus.activity", "processes.type", "kind", "severity"}
    )


def test_unknown_members_and_columns_of_a_newer_collector_are_cleaned_too() -> None:
    novelty = {"a": [FORGED, {"b": FORGED}]}
    gpus = make_gpus(2, shiny=[FORGED, {"a": FORGED}])
    system = {"hostname": "node1", "rack": FORGED}
    snapshot = check_snapshot(make_snapshot(gpus=gpus, system=system, novelty=novelty))
    assert texts_in(snapshot).count(CLEANED) == 5
    assert not [text for text in texts_in(snapshot) if _REFUSED_SIGNS & set(text)]


@pytest.mark.parametrize(
    "members",
    [
        {"a\nb": 1},
        {"novelty": {"a\u202eb": 1}},
        {"novelty": [{"\x1b": 1}]},
        {"system": {"a\x85b": 1}},
        {"gpus": make_gpus(2, **{"a\u2028b": [1, 2]})},
    ],
)
def test_a_name_of_a_member_that_is_not_printable_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        check_snapshot(make_snapshot(**members))
    assert caught.value.reason == "type" and str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["boot_id", "run_id"])
@pytest.mark.parametrize("text", ["a\n", "a b", "\x1b", "ä", "a\u202e"])
def test_the_ids_of_a_run_and_a_boot_are_printable_ascii(key: str, text: str) -> None:
    with pytest.raises(WireError) as caught:
        check_snapshot(make_snapshot() | {key: text})
    assert caught.value.reason == "value"


def test_a_text_that_was_cleaned_is_no_change_when_it_comes_again() -> None:
    before = check_snapshot(forged_snapshot())
    again = check_snapshot(forged_snapshot() | {"sequence": 2}, before)
    assert again == {**before, "sequence": 2}
    for table, keys in SHARED_COLUMNS.items():
        for key in keys & before[table].keys():  # type: ignore[literal-required]  # a table's name
            assert again[table][key] is before[table][key]  # type: ignore[literal-required]


def test_the_largest_text_is_cleaned_in_less_than_a_tick() -> None:
    text = "\xa0\n" * (MAX_MESSAGE_BYTES // 3)
    began = time.process_time()
    assert plain_text(text).count("\ufffd") == len(text) // 2
    assert time.process_time() - began < 0.5
