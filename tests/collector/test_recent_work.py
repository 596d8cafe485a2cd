"""Working, quiet, unmeasured, or not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.recent_work import RecentWork, activity, observe_work, work_gap

GAP = work_gap(1.0)
NOW = 1000.0


def shown(*percents: int | None, idle_since: float | None = None) -> list[str | None]:
    """The activity after each sample, one a second."""
    known: RecentWork | None = None
    words: list[str | None] = []
    for second, percent in enumerate(percents):
        known = observe_work(known, percent, idle_since, NOW + second, GAP)
        words.append(activity(known, NOW + second, GAP))
    return words


def test_half_a_minute_has_to_be_seen_first() -> None:
    assert shown(*[0] * 32) == [None] * 30 + ["quiet"] * 2


def test_an_idle_time_from_before_a_restart_counts() -> None:
    assert shown(0, idle_since=NOW - 30) == ["quiet"]
    assert shown(0, idle_since=NOW - 29)[0] is None


@pytest.mark.parametrize(("percent", "expected"), [(4, "quiet"), (5, "working"), (98, "working")])
def test_a_desktop_is_quiet_and_a_job_works(percent: int, expected: str) -> None:
    assert shown(*[percent] * 31)[30] == expected


def test_after_work_a_gpu_is_quiet_half_a_minute_later() -> None:
    assert shown(98, *[0] * 31) == ["working"] * 31 + ["quiet"]


def test_a_pause_in_the_first_half_minute_is_not_quiet() -> None:
    assert shown(*[0] * 10, 60, *[0] * 31) == [None] * 10 + ["working"] * 31 + ["quiet"]


def test_a_gpu_without_a_utilization_is_unmeasured_half_a_minute_later() -> None:
    assert shown(*[None] * 31) == [None] * 30 + ["unmeasured"]


def test_the_first_value_begins_anew() -> None:
    assert shown(*[None] * 5, *[0] * 31) == [None] * 35 + ["quiet"]
    assert shown(*[None] * 5, 60)[5] == "working"


def test_a_sample_without_a_value_changes_nothing() -> None:
    assert shown(98, None, None)[2] == "working"
    assert shown(*[0] * 31, None)[31] == "quiet"


def test_work_that_cannot_be_measured_any_more_is_not_known_before_it_is_unmeasured() -> None:
    words = shown(98, *[None] * 70)
    assert words[30] == "working" and words[31] is None
    assert words[60] is None and words[61] == "unmeasured"


def test_nothing_is_known_after_a_gap() -> None:
    known = observe_work(None, 0, NOW - 900, NOW, GAP)
    later = NOW + GAP + 1
    assert activity(known, later, GAP) is None
    assert activity(observe_work(known, 0, None, later, GAP), later, GAP) is None
    assert activity(known, NOW - 1, GAP) is None


def test_samples_far_apart_are_no_gap() -> None:
    gap = work_gap(400.0)
    known = observe_work(observe_work(None, 0, None, NOW, gap), 0, None, NOW + 400, gap)
    assert activity(known, NOW + 400, gap) == "quiet"


@given(st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=80))
def test_quiet_means_that_half_a_minute_of_values_showed_no_work(
    percents: list[int | None],
) -> None:
    for second, word in enumerate(shown(*percents)):
        recent = [each for each in percents[max(0, second - 29) : second + 1] if each is not None]
        if word == "quiet":
            assert second >= 30 and recent and max(recent) < 5
        elif word == "working":
            assert max(each for each in percents[: second + 1] if each is not None) >= 5
        elif word == "unmeasured":
            assert not recent
