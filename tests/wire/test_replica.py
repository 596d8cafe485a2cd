"""wire.replica: pictures and patches become the document for viewers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.patch import merge
from gpu_monitor.wire.replica import PICTURE_RETRY_SECONDS, Replica
from tests.support.web_house import make_fleet, make_host

WEB = {"version": "0.1.0", "assets": "abc"}


def picture(sequence: int, run_id: str = "r", **fleet: Any) -> Any:
    return {"run_id": run_id, "sequence": sequence, "fleet": {**make_fleet(), **fleet}}


def patch(sequence: int, run_id: str = "r", **members: Any) -> Any:
    return {"run_id": run_id, "sequence": sequence, "patch": members}


def follow(now: float = 0.0) -> Replica:
    return Replica(WEB, rpc_timeout=2.0, now=now)


def synced(now: float = 0.0) -> Replica:
    replica = follow(now)
    replica.apply_picture(picture(5), now)
    return replica


def test_before_the_first_picture_the_broker_is_lost_and_there_are_no_hosts() -> None:
    replica = follow()
    assert replica.document["broker"] == {"state": "lost"}
    assert replica.document["hosts"] == {}
    assert replica.document["web"] == WEB
    assert replica.lost and not replica.ever_synced and replica.needs_picture(0.0)


def test_a_picture_makes_the_document_live() -> None:
    replica = follow()
    before = replica.document
    told = replica.apply_picture(picture(5, hosts={"a": make_host()}), 1.0)
    assert replica.document == {**make_fleet(a=make_host()), "totals": {"hosts": 0}, "web": WEB}
    assert merge(before, told) == replica.document
    assert not replica.lost and not replica.needs_picture(9.0)


def test_the_next_patch_is_applied_and_passed_on_unchanged() -> None:
    replica = synced()
    assert replica.apply_patch(patch(6, now=1001.0), 1.0) == {"now": 1001.0}
    assert replica.document["now"] == 1001.0


def test_an_older_document_stays_as_it_was() -> None:
    replica = synced()
    before = replica.document
    replica.apply_patch(patch(6, hosts={"a": make_host()}), 1.0)
    assert before["hosts"] == {}


def test_a_gap_requests_a_picture_at_once_and_shows_nothing() -> None:
    replica = synced()
    assert replica.apply_patch(patch(7, now=1002.0), 1.0) is None
    assert replica.document["now"] == 1000.0
    assert replica.needs_picture(1.0)


def test_a_patch_of_another_run_requests_a_picture() -> None:
    replica = synced()
    assert replica.apply_patch(patch(6, "other", now=7.0), 1.0) is None
    assert replica.needs_picture(1.0)


def test_a_patch_that_was_seen_is_dropped() -> None:
    replica = synced()
    assert replica.apply_patch(patch(5, now=1.0), 1.0) is None
    assert not replica.needs_picture(1.0)


def test_patches_before_the_picture_are_applied_only_where_they_come_after_it() -> None:
    replica = follow()
    for sequence in (4, 5, 6, 7):
        replica.apply_patch(patch(sequence, now=float(sequence)), 0.1)
    replica.apply_patch(patch(6, "other", now=99.0), 0.1)
    replica.apply_picture(picture(5), 0.2)
    assert replica.document["now"] == 7.0
    assert replica.apply_patch(patch(8, now=8.0), 0.3) == {"now": 8.0}


def test_a_picture_is_requested_again_only_after_two_seconds() -> None:
    replica = follow()
    replica.note_request(10.0)
    assert not replica.needs_picture(10.0 + PICTURE_RETRY_SECONDS - 0.1)
    assert replica.needs_picture(10.0 + PICTURE_RETRY_SECONDS)


def test_a_silent_broker_is_lost_after_rpc_timeout_and_now_stops() -> None:
    replica = synced(now=10.0)
    assert replica.mark_lost(12.0) is None
    told = replica.mark_lost(12.1)
    assert told == {"broker": {"state": "lost", "heard_at": 1000.0}}
    assert replica.document["now"] == 1000.0
    assert replica.mark_lost(13.0) is None


def test_patches_do_not_end_a_loss_because_they_may_be_old() -> None:
    replica = synced()
    replica.mark_lost(3.0)
    assert replica.apply_patch(patch(6, now=1001.0), 3.1) is None
    assert replica.document["broker"]["state"] == "lost"


def test_a_picture_ends_a_loss_and_leaves_no_trace_of_it() -> None:
    replica = synced()
    replica.mark_lost(3.0)
    shown = replica.document
    told = replica.apply_picture(picture(9, now=1003.0), 3.2)
    assert replica.document["broker"] == make_fleet()["broker"]
    assert told == {"now": 1003.0, "broker": {"state": "live", "heard_at": None}}
    assert merge(shown, told) == replica.document


def test_a_gap_without_a_picture_becomes_a_loss() -> None:
    replica = synced()
    replica.apply_patch(patch(7), 1.9)
    assert replica.mark_lost(2.1) is not None


def test_a_broker_of_another_major_version_is_named_and_not_shown() -> None:
    replica = follow()
    assert replica.apply_picture(picture(1, version=2), 1.0) is None
    assert replica.refusal == "the broker speaks version 2, this is 1"
    assert replica.lost


def run_id(run: int) -> str:
    return f"r{run}" if run else "r"


STEPS = st.lists(st.sampled_from(["patch", "lost patch", "restart", "silence", "picture"]))


@given(STEPS)
def test_a_viewer_that_merges_all_patches_has_the_document(steps: list[str]) -> None:
    replica, viewer = synced(), dict(synced().document)
    run, sequence, now, broker = 0, 5, 0.0, make_fleet()
    for step in steps:
        now += 0.1
        told = None
        if step == "restart":
            run, sequence, broker = run + 1, 0, make_fleet(**{f"h{run}": make_host()})
        elif step == "silence":
            now += 3
            told = replica.mark_lost(now)
        elif step == "picture":
            told = replica.apply_picture(
                picture(sequence, f"r{run}" if run else "r", **broker), now
            )
        else:
            sequence += 1
            broker = merge(broker, {"now": now, "hosts": {"x": {"state": str(sequence)}}})
            change = {"now": now, "hosts": {"x": {"state": str(sequence)}}}
            update = patch(sequence, run_id(run), **change)
            told = replica.apply_patch(update, now) if step == "patch" else None
        viewer = merge(viewer, told or {})
        assert viewer == replica.document
    replica.apply_picture(picture(sequence, "last", **broker), now)
    assert replica.document == {**broker, "web": WEB}
