"""Pictures and patches become the document that viewers are shown; time is handed in."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.patch import merge
from gpu_monitor.wire.replica import ASK_AGAIN_SECONDS, Following
from tests.support.web_house import make_fleet, make_host

WEB = {"version": "0.1.0", "assets": "abc"}


def picture(sequence: int, run_id: str = "r", **fleet: Any) -> Any:
    return {"run_id": run_id, "sequence": sequence, "fleet": {**make_fleet(), **fleet}}


def patch(sequence: int, run_id: str = "r", **members: Any) -> Any:
    return {"run_id": run_id, "sequence": sequence, "patch": members}


def follow(now: float = 0.0) -> Following:
    return Following(WEB, rpc_timeout=2.0, now=now)


def synced(now: float = 0.0) -> Following:
    following = follow(now)
    following.hear_picture(picture(5), now)
    return following


def test_before_the_first_picture_the_broker_is_lost_and_there_are_no_hosts() -> None:
    following = follow()
    assert following.document["broker"] == {"state": "lost"}
    assert following.document["hosts"] == {}
    assert following.document["web"] == WEB
    assert following.lost and not following.ever_heard and following.wants_picture(0.0)


def test_a_picture_makes_the_document_live() -> None:
    following = follow()
    before = following.document
    told = following.hear_picture(picture(5, hosts={"a": make_host()}), 1.0)
    assert following.document == {**make_fleet(a=make_host()), "totals": {"hosts": 0}, "web": WEB}
    assert merge(before, told) == following.document
    assert not following.lost and not following.wants_picture(9.0)


def test_the_next_patch_is_taken_over_and_passed_on_as_it_is() -> None:
    following = synced()
    assert following.hear_patch(patch(6, now=1001.0), 1.0) == {"now": 1001.0}
    assert following.document["now"] == 1001.0


def test_an_older_document_stays_as_it_was() -> None:
    following = synced()
    before = following.document
    following.hear_patch(patch(6, hosts={"a": make_host()}), 1.0)
    assert before["hosts"] == {}


def test_a_gap_asks_for_a_picture_at_once_and_shows_nothing() -> None:
    following = synced()
    assert following.hear_patch(patch(7, now=1002.0), 1.0) is None
    assert following.document["now"] == 1000.0
    assert following.wants_picture(1.0)


def test_a_patch_of_another_run_asks_for_a_picture() -> None:
    following = synced()
    assert following.hear_patch(patch(6, "other", now=7.0), 1.0) is None
    assert following.wants_picture(1.0)


def test_a_patch_that_was_seen_is_dropped() -> None:
    following = synced()
    assert following.hear_patch(patch(5, now=1.0), 1.0) is None
    assert not following.wants_picture(1.0)


def test_patches_before_the_picture_are_applied_only_where_they_come_after_it() -> None:
    following = follow()
    for sequence in (4, 5, 6, 7):
        following.hear_patch(patch(sequence, now=float(sequence)), 0.1)
    following.hear_patch(patch(6, "other", now=99.0), 0.1)
    following.hear_picture(picture(5), 0.2)
    assert following.document["now"] == 7.0
    assert following.hear_patch(patch(8, now=8.0), 0.3) == {"now": 8.0}


def test_it_asks_again_only_after_two_seconds() -> None:
    following = follow()
    following.asked(10.0)
    assert not following.wants_picture(10.0 + ASK_AGAIN_SECONDS - 0.1)
    assert following.wants_picture(10.0 + ASK_AGAIN_SECONDS)


def test_a_silent_broker_is_lost_after_rpc_timeout_and_now_stands_still() -> None:
    following = synced(now=10.0)
    assert following.look(12.0) is None
    told = following.look(12.1)
    assert told == {"broker": {"state": "lost", "heard_at": 1000.0}}
    assert following.document["now"] == 1000.0
    assert following.look(13.0) is None


def test_patches_do_not_end_a_loss_for_they_may_be_old() -> None:
    following = synced()
    following.look(3.0)
    assert following.hear_patch(patch(6, now=1001.0), 3.1) is None
    assert following.document["broker"]["state"] == "lost"


def test_a_picture_ends_a_loss_without_a_trace_of_it() -> None:
    following = synced()
    following.look(3.0)
    shown = following.document
    told = following.hear_picture(picture(9, now=1003.0), 3.2)
    assert following.document["broker"] == make_fleet()["broker"]
    assert told == {"now": 1003.0, "broker": {"state": "live", "heard_at": None}}
    assert merge(shown, told) == following.document


def test_a_gap_without_a_picture_becomes_a_loss() -> None:
    following = synced()
    following.hear_patch(patch(7), 1.9)
    assert following.look(2.1) is not None


def test_a_broker_of_another_major_version_is_named_and_not_shown() -> None:
    following = follow()
    assert following.hear_picture(picture(1, version=2), 1.0) is None
    assert following.refusal == "the broker speaks version 2, this is 1"
    assert following.lost


def run_id(run: int) -> str:
    return f"r{run}" if run else "r"


STEPS = st.lists(st.sampled_from(["patch", "lost patch", "restart", "silence", "picture"]))


@given(STEPS)
def test_a_viewer_who_merges_what_is_told_has_the_document(steps: list[str]) -> None:
    following, viewer = synced(), dict(synced().document)
    run, sequence, now, broker = 0, 5, 0.0, make_fleet()
    for step in steps:
        now += 0.1
        told = None
        if step == "restart":
            run, sequence, broker = run + 1, 0, make_fleet(**{f"h{run}": make_host()})
        elif step == "silence":
            now += 3
            told = following.look(now)
        elif step == "picture":
            told = following.hear_picture(
                picture(sequence, f"r{run}" if run else "r", **broker), now
            )
        else:
            sequence += 1
            broker = merge(broker, {"now": now, "hosts": {"x": {"state": str(sequence)}}})
            change = {"now": now, "hosts": {"x": {"state": str(sequence)}}}
            update = patch(sequence, run_id(run), **change)
            told = following.hear_patch(update, now) if step == "patch" else None
        viewer = merge(viewer, told or {})
        assert viewer == following.document
    following.hear_picture(picture(sequence, "last", **broker), now)
    assert following.document == {**broker, "web": WEB}
