"""The table of findings: order, times, limits."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.findings import (
    MAX_FINDINGS,
    Finding,
    FindingTimes,
    PlacedFinding,
    Severity,
    add_finding,
    finding_columns,
    sorted_findings,
)
from gpu_monitor.wire.document import FINDING_COLUMNS, SEVERITIES

SEVERITY: st.SearchStrategy[Severity] = st.sampled_from(("critical", "warning", "info"))
FINDINGS = st.builds(
    Finding,
    st.sampled_from(("xid", "ecc")),
    SEVERITY,
    st.text(max_size=5),
    advice=st.none(),
    key=st.sampled_from(("", "48", "79")),
    since=st.none(),
)
PLACED = st.lists(st.builds(PlacedFinding, st.none() | st.integers(0, 9), FINDINGS), max_size=300)


@given(PLACED)
def test_all_that_fit_are_kept_the_worst_first_and_the_rest_is_counted(
    found: list[PlacedFinding],
) -> None:
    shown = sorted_findings(found, rows=10)
    ranks = [SEVERITIES.index(each.finding.severity) for each in shown]
    assert ranks[:-1] == sorted(ranks[:-1])
    if len(found) <= MAX_FINDINGS:
        assert sorted(shown, key=str) == sorted(found, key=str)
    else:
        assert len(shown) == MAX_FINDINGS
        assert f"of {len(found)} findings shown" in shown[-1].finding.words


@given(PLACED, st.integers(0, 10))
def test_every_row_that_is_named_exists(found: list[PlacedFinding], rows: int) -> None:
    assert all(row is None or row < rows for row, _ in sorted_findings(found, rows))


@given(st.lists(PLACED, max_size=5))
def test_a_finding_began_when_it_was_first_seen_without_a_break(
    snapshots: list[list[PlacedFinding]],
) -> None:
    times, keys = FindingTimes(), [f"GPU-{row}" for row in range(10)]
    before: dict[tuple[int | None, str, str], float] = {}
    for now, found in enumerate(snapshots):
        now_seen = {}
        for (row, finding), since in zip(found, times.update(found, keys, now), strict=True):
            key = (row, finding.kind, finding.key)
            assert since == before.get(key, now)
            now_seen[key] = since
        before = now_seen


@given(PLACED)
def test_the_table_has_every_column_and_one_value_per_row(found: list[PlacedFinding]) -> None:
    shown = sorted_findings(found, rows=10)
    table = finding_columns(shown, [1.5] * len(shown), int)
    assert list(table) == list(FINDING_COLUMNS)
    assert {len(column) for column in table.values()} == {len(shown)}
    more = add_finding(table, Finding("rows_cut", "info", "cut"), None)
    assert {len(column) for column in more.values()} == {min(len(shown) + 1, MAX_FINDINGS)}
    assert more["words"][-1] == "cut"


def test_a_text_has_its_advice_after_the_first_colon() -> None:
    finding = Finding.of_text("driver", "critical", "not loaded: load it: modprobe nvidia")
    assert (finding.words, finding.advice) == ("not loaded", "load it: modprobe nvidia")
    assert finding.line == "not loaded: load it: modprobe nvidia"
    assert Finding.of_text("driver", "critical", "gone").advice is None
