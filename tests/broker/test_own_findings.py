"""broker.own_findings: the broker's own rows, and the collector's table beside them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.own_findings import (
    LATE_SILENT_SECONDS,
    BrokerFinding,
    ClockFinding,
    LateFinding,
    with_findings,
)
from gpu_monitor.wire.document import FINDING_COLUMNS, SEVERITIES, Table
from tests.support.snapshots import make_findings
from tests.support.ticking import WALL, Broker

CONFLICT = BrokerFinding("conflict", "critical", 5, "two collectors report", "stop one")
CLOCK = BrokerFinding("clock", "warning", 6, "its clock is 9 s ahead of the broker's", "set it")


def rows(table: Table) -> list[dict[str, Any]]:
    return [
        {key: column[row] for key, column in table.items()} for row in range(len(table["kind"]))
    ]


def published(broker: Broker) -> Table:
    table: Table = broker.followed["hosts"]["node1"]["findings"]
    return table


def test_a_table_without_rows_of_the_broker_is_published_as_it_is() -> None:
    sent = make_findings("xid")
    assert with_findings(sent, []) is sent


@pytest.mark.parametrize("sent", [{}, {"kind": ["xid"], "severity": ["warning"]}])
def test_columns_that_a_collector_leaves_out_are_published_as_unknown(sent: Table) -> None:
    table = with_findings(sent, [])
    assert table.keys() == FINDING_COLUMNS.keys()
    assert table["words"] == [None] * len(sent.get("kind", ()))


def test_the_worst_rows_come_first() -> None:
    sent = make_findings("ecc", "xid", "no_pids", severity=["critical", "warning", "info"])
    assert with_findings(sent, [CONFLICT, CLOCK])["kind"] == [
        *("conflict", "ecc", "clock", "xid", "no_pids")
    ]


columns = st.integers(0, 4).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            "kind": st.lists(
                st.sampled_from(["xid", "ecc", "new"]), min_size=count, max_size=count
            ),
            "severity": st.lists(st.sampled_from(SEVERITIES), min_size=count, max_size=count),
        },
        optional={
            key: st.lists(st.sampled_from([None, 0, 1]), min_size=count, max_size=count)
            for key in ("gpu", "since", "words", "advice", "shiny")
        },
    )
)


@given(columns, st.sampled_from([[], [CONFLICT], [CLOCK], [CONFLICT, CLOCK]]))
def test_no_row_is_lost_or_changed(sent: Table, own: list[BrokerFinding]) -> None:
    table = with_findings(sent, own)
    ranks = [SEVERITIES.index(severity) for severity in table["severity"]]
    expected = [row for row in rows(sent)] + [finding._asdict() for finding in own]
    kept = [{key: row[key] for key in row if row[key] is not None} for row in rows(table)]
    for row in expected:
        kept.remove({key: row[key] for key in row if row[key] is not None})
    assert kept == [] and table.keys() == FINDING_COLUMNS.keys() | sent.keys()
    assert not own or ranks == sorted(ranks)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("rpc_timeout", "limit"), [(2.0, 2.0), (60.0, 5.0)])
def test_a_clock_is_wrong_from_the_timeout_on_or_5_s_and_right_again_below_four_fifths(
    sign: int, rpc_timeout: float, limit: float
) -> None:
    clock, known = ClockFinding(rpc_timeout), []
    for share in (0.0, 0.99, 1.0, 0.84, 0.81, 0.79, 0.99, 1.0):
        clock.judge(sign * share * limit, WALL)
        known.append(clock.finding is not None)
    assert known == [False, False, True, True, True, False, False, True]


def test_the_words_follow_the_offset_and_since_does_not() -> None:
    clock, told = ClockFinding(2.0), []
    for now, offset in enumerate([7.0, 7.9, 8.1, -8.1, 200.0, 1e4, 8e8]):
        changed = clock.judge(offset, WALL + now)
        assert clock.finding is not None and clock.finding.since == WALL
        told.append((changed, clock.finding.words.removeprefix("its clock is ")))
    assert told == [
        (True, "7 s ahead of the broker's"),
        (False, "7 s ahead of the broker's"),
        (True, "8 s ahead of the broker's"),
        (True, "8 s behind the broker's, or its messages arrive that late"),
        (True, "3 minutes ahead of the broker's"),
        (True, "3 hours ahead of the broker's"),
        (True, "9259 days ahead of the broker's"),
    ]


def test_the_words_about_a_late_link_follow_its_delay_and_since_does_not() -> None:
    link, told = LateFinding(), []
    for now, late in enumerate([2.3, 3.2, 3.4, 30.0, 32.0, 34.0, 7000.0]):
        changed = link.judge(late, float(now), WALL + now)
        assert link.finding is not None and link.finding.since == WALL
        told.append((changed, link.finding.words.split(" late")[0]))
    assert told == [
        (True, "its messages arrive 2 s"),
        (False, "its messages arrive 2 s"),
        (True, "its messages arrive 3 s"),
        (True, "its messages arrive 30 s"),
        (False, "its messages arrive 30 s"),
        (True, "its messages arrive 34 s"),
        (True, "its messages arrive 117 minutes"),
    ]


def send_late(broker: Broker, at: int, seconds: float) -> None:
    broker.send(float(at), sampled_boottime=at - seconds, sampled_at=WALL + at - seconds)
    broker.tick(float(at))


def test_a_host_behind_a_queue_is_stale_and_says_how_late_it_is() -> None:
    broker = Broker()
    broker.live()
    for at in range(40, 50):
        send_late(broker, at, 30.0)
    assert broker.followed["hosts"]["node1"]["state"] == "stale"
    (row,) = rows(published(broker))
    assert (row["kind"], row["severity"], row["since"]) == ("link_late", "warning", WALL + 40)
    assert row["words"] == "its messages arrive 30 s late, or its clocks were set back"
    assert "`interval`" in row["advice"] and "`commands`" in row["advice"]
    send_late(broker, 50, 0.0)
    assert broker.followed["hosts"]["node1"]["state"] == "live"
    assert published(broker) == make_findings()


def test_a_late_sample_among_fresh_ones_is_no_finding() -> None:
    broker = Broker()
    broker.live()
    for at in range(2, 30):
        send_late(broker, at, 2.5 if at % 2 else 0.0)
        assert published(broker) == make_findings()
        assert broker.followed["hosts"]["node1"]["state"] == "live"


def test_a_late_host_that_falls_silent_is_only_stale() -> None:
    broker = Broker()
    broker.live()
    for at in range(40, 50):
        send_late(broker, at, 30.0)
    broker.tick(50.0 + LATE_SILENT_SECONDS)
    assert broker.followed["hosts"]["node1"]["state"] == "stale"
    assert published(broker) == make_findings()


def send_ahead(broker: Broker, at: int, seconds: float) -> dict[str, Any]:
    """A message of a host whose clock is this far ahead; the patch on it."""
    broker.send(float(at), sampled_at=WALL + at + seconds)
    return broker.tick(float(at))


def test_a_clock_that_is_set_wrong_is_found_within_ten_seconds_and_told_once() -> None:
    broker = Broker()
    broker.live()
    assert published(broker) == make_findings()
    patches = [send_ahead(broker, at, 60.0) for at in range(2, 40)]
    told = [at for at, patch in enumerate(patches, 2) if "findings" in str(patch)]
    assert len(told) == 1 and told[0] <= 12
    (row,) = rows(published(broker))
    assert (row["kind"], row["severity"], row["gpu"]) == ("clock", "warning", None)
    assert row["since"] == WALL + told[0]
    for at in range(40, 52):
        send_ahead(broker, at, 1.5)
    assert published(broker) == make_findings()


def test_the_rows_of_a_collector_stay_beside_those_of_the_broker() -> None:
    broker = Broker()
    broker.send(0.0, findings=make_findings("ecc"), sampled_at=WALL - 60)
    broker.send(1.0, findings=make_findings("ecc"), sampled_at=WALL - 60)
    broker.tick(1.0)
    assert published(broker)["kind"] == ["clock", "ecc"]
    for second in (2.0, 3.0):
        broker.send(second, findings=make_findings("xid", "ecc"), sampled_at=WALL - 60)
        broker.tick(second)
    assert published(broker)["kind"] == ["clock", "xid", "ecc"]
    broker.tick(30.0)
    assert broker.followed["hosts"]["node1"]["state"] == "stale"
    assert published(broker)["kind"] == ["clock", "xid", "ecc"]


def test_a_conflict_ends_with_its_finding() -> None:
    broker = Broker()
    for second in range(5):
        broker.send(float(second), run_id="1")
        broker.send(second + 0.5, run_id="2")
        broker.tick(second + 0.5)
    assert published(broker)["kind"] == ["conflict"]
    for second in range(5, 10):
        broker.send(float(second), run_id="1")
        broker.tick(float(second))
    assert broker.followed["hosts"]["node1"]["state"] == "live"
    assert published(broker) == make_findings()


def test_equal_columns_stay_the_same_objects() -> None:
    broker = Broker()
    shown = []
    for second in range(6):
        broker.send(float(second), run_id="1", findings=make_findings("xid"))
        broker.send(second + 0.5, run_id="2")
        broker.tick(second + 0.5)
        host = broker.published.document["hosts"].get("node1", {"findings": {}})
        shown.append(dict(host["findings"]))
    assert shown[-1]["kind"] == ["conflict", "xid"]
    assert all(shown[-1][key] is shown[-2][key] for key in FINDING_COLUMNS)
