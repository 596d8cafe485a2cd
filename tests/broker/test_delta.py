"""broker.delta: what is published now and what waits; each patch leads to the document."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.delta import advance_all
from gpu_monitor.broker.gpu_use import NEVER, Uses
from gpu_monitor.broker.own_findings import with_findings
from gpu_monitor.broker.turns import Turns, bookkeeping
from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.patch import merge
from tests.support.snapshots import (
    check_snapshot,
    make_findings,
    make_gpus,
    make_processes,
    make_snapshot,
)

FREE = Uses(["free"] * 2, [None] * 2, NEVER)
OWN = {"state": "live", "findings": make_findings()}


def uses(*use: str | None) -> Uses:
    """A use for each GPU, without a reason."""
    return Uses(list(use), [None] * len(use), NEVER)


def snapshot(previous: Snapshot | None = None, **members: Any) -> Snapshot:
    return check_snapshot(make_snapshot(**members), previous)


def published(first: Snapshot, use: Uses | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    own = OWN | bookkeeping(first, 5.0, 0.0)
    advance_all(shown, first, use if use is not None else FREE, own, True)
    return shown


def patch_of(first: Snapshot, second: Snapshot, slow: bool = False) -> dict[str, Any]:
    return advance_all(published(first), second, FREE, OWN, slow)


def test_an_unchanged_host_has_an_empty_patch() -> None:
    first = snapshot()
    assert patch_of(first, snapshot(first, sequence=2)) == {}


def test_a_fast_column_is_sent_at_once_and_whole() -> None:
    first = snapshot()
    second = snapshot(first, gpus=make_gpus(2, utilization_percent=[0, 50]))
    assert patch_of(first, second) == {"gpus": {"utilization_percent": [0, 50]}}


def test_slow_columns_wait_for_their_turn() -> None:
    first = snapshot()
    second = snapshot(
        first,
        gpus=make_gpus(2, fan_percent=[30, 30], sm_clock_mhz=[1, 2]),
        processes=first["processes"] | {"sm_utilization_percent": [99]},
        system=first["system"] | {"load_1m": 3.5},
    )
    shown = published(snapshot(first, system=first["system"] | {"load_1m": 1.0}))
    assert advance_all(shown, second, FREE, OWN, False) == {}
    late = advance_all(shown, second, FREE, OWN, True)
    assert late["gpus"] == {"fan_percent": [30, 30], "sm_clock_mhz": [1, 2]}
    assert late["processes"] == {"sm_utilization_percent": [99]} and late["system"] == {
        "load_1m": 3.5
    }


def test_a_slow_value_that_changed_back_is_not_sent() -> None:
    first = snapshot()
    shown = published(first)
    second = snapshot(first, gpus=make_gpus(2, fan_percent=[30, 30]))
    advance_all(shown, second, FREE, OWN, False)
    assert advance_all(shown, snapshot(second), FREE, OWN, True) == {}


def test_when_rows_change_places_every_changed_column_is_sent() -> None:
    first = snapshot(
        processes=make_processes(pid=[1], sm_utilization_percent=[5], gpu_memory_mib=[7])
    )
    second = snapshot(
        first, processes=make_processes(pid=[2], sm_utilization_percent=[6], gpu_memory_mib=[8])
    )
    patch = patch_of(first, second)["processes"]
    assert patch == {"pid": [2], "sm_utilization_percent": [6], "gpu_memory_mib": [8]}


def test_a_new_process_changes_all_columns_to_one_length() -> None:
    first = snapshot()
    two = {key: column * 2 for key, column in make_processes().items()}
    shown = published(first)
    advance_all(shown, snapshot(first, processes=two), uses("busy", "busy"), OWN, False)
    assert {len(column) for column in shown["processes"].values()} == {2}


def test_gpus_without_an_identity_keep_one_length_too() -> None:
    first = snapshot(gpus={"index": [0], "state": ["ok"], "fan_percent": [1]}, processes={})
    second = snapshot(
        first, gpus={"index": [0, 1], "state": ["ok", "ok"], "fan_percent": [1, 1]}, processes={}
    )
    shown = published(first, uses("free"))
    advance_all(shown, second, FREE, OWN, False)
    assert {len(column) for column in shown["gpus"].values()} == {2}


def test_the_use_disappears_with_the_last_gpu() -> None:
    first = snapshot()
    shown = published(first)
    patch = advance_all(shown, snapshot(first, gpus={}, processes={}), uses(), OWN, False)
    assert shown["gpus"] == {} and patch["gpus"]["use"] is None


def test_a_collector_cannot_set_the_brokers_members() -> None:
    evil = snapshot(state="missing", heard_at=9, gpus=make_gpus(2, use=["mine", "mine"]))
    shown = published(evil)
    assert shown["state"] == "live" and shown["heard_at"] == 5.0
    assert shown["gpus"]["use"] == ["free", "free"]


def test_members_of_a_newer_collector_pass_through_and_are_removed_again() -> None:
    first = snapshot(weather={"sun": True, "wind": {"knots": 3}})
    shown = published(first)
    second = snapshot(first, weather={"sun": 1, "wind": {}})
    patch = advance_all(shown, second, FREE, OWN, False)
    assert patch == {"weather": {"sun": 1, "wind": {"knots": None}}}
    assert advance_all(shown, snapshot(second), FREE, OWN, False) == {"weather": None}
    assert "weather" not in shown


def test_slow_values_have_a_turn_every_5_s_and_bookkeeping_every_10() -> None:
    turns = Turns(phase=0.3)
    due = [turns.due(100.0 + tenth / 10) for tenth in range(1, 601)]
    assert sum(slow for slow, _ in due) in (12, 13)
    assert sum(book for _, book in due) in (6, 7)


def test_hosts_have_their_turns_at_different_times() -> None:
    many = [Turns(number / 100) for number in range(100)]
    for turns in many:
        turns.due(100.0)
    assert 15 <= sum(turns.due(101.0)[0] for turns in many) <= 25


def test_the_offset_of_a_host_is_how_far_its_clock_is_ahead() -> None:
    told = bookkeeping(snapshot(sampled_at=1000.0), heard_at=991.5, age=0.5)
    assert told["clock_offset_seconds"] == 9.0 and told["heard_at"] == 991.5


few = st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=2, max_size=2)


@st.composite
def snapshots(draw: st.DrawFn) -> dict[str, Any]:
    """Messages that differ in few values, in the number of rows and in the columns they have."""
    gpus = make_gpus(2, fan_percent=draw(few), utilization_percent=draw(few), new=draw(few))
    for key in draw(st.sets(st.sampled_from(["new", "fan_percent", "uuid", "power_watts"]))):
        del gpus[key]
    members: dict[str, Any] = {"gpus": gpus, "system": {"load_1m": draw(st.integers(0, 2))}}
    members["findings"] = make_findings(*draw(st.lists(st.sampled_from(["xid", "ecc"]))))
    if draw(st.booleans()):
        members["processes"] = {}
    if draw(st.booleans()):
        members |= {"gpus": {}, "processes": {}}
    if draw(st.booleans()):
        members["extra"] = draw(st.sampled_from([1, True, {"a": 1}, {"a": True, "b": [None]}]))
    return make_snapshot(**members)


@given(st.lists(st.tuples(snapshots(), st.booleans()), min_size=1, max_size=6))
def test_patches_add_up_to_what_is_published(messages: list[tuple[dict[str, Any], bool]]) -> None:
    shown: dict[str, Any] = {}
    followed: dict[str, Any] = {}
    previous = None
    use = uses()
    own: dict[str, Any] = {}
    for message, slow in messages:
        previous = check_snapshot(message, previous)
        use = uses(*[None] * len(previous["gpus"].get("state", ())))
        own = OWN | bookkeeping(previous, 1.0, 0.0)
        own["findings"] = with_findings(previous["findings"], [])
        before = copy.deepcopy(shown)
        patch = advance_all(shown, previous, use, own, slow)
        assert merge(before, patch) == shown
        followed = merge(followed, copy.deepcopy(patch))
        assert repr(followed) == repr(merge(followed, {})) and followed == shown
        assert shown["findings"] == previous["findings"]
        for table in ("gpus", "processes", "findings"):
            assert len({len(column) for column in shown[table].values()}) <= 1
    assert previous is not None
    advance_all(shown, previous, use, own, True)
    assert {key: shown["gpus"][key] for key in previous["gpus"]} == previous["gpus"]
