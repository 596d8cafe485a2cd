"""Since when a GPU does no work."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.activity import BLIP_SECONDS, IDLE_GAP_SECONDS, Idle, IdleTimes


def observe(
    samples: list[tuple[float, int | None]], times: IdleTimes | None = None
) -> list[float | None]:
    times = times or IdleTimes()
    return [times.observe("gpu", percent, now) for now, percent in samples]


def test_idle_counts_from_the_first_sample_without_work() -> None:
    assert observe([(10, 50), (11, 0), (12, 0), (13, 0)]) == [None, 11, 11, 11]


def test_work_ends_an_idle_time() -> None:
    assert observe([(10, 0), (11, 80), (12, 0)]) == [10, None, 12]


def test_one_short_blip_does_not_end_it() -> None:
    assert observe([(10, 0), (11, 4), (12, 0)]) == [10, 10, 10]


def test_a_blip_of_five_percent_is_work() -> None:
    assert observe([(10, 0), (11, 5), (12, 0)]) == [10, None, 12]


def test_two_blips_within_a_minute_are_work() -> None:
    second = 11 + BLIP_SECONDS - 1

    assert observe([(10, 0), (11, 2), (12, 0), (second, 2), (second + 1, 0)])[-2:] == [
        None,
        second + 1,
    ]


def test_two_blips_a_minute_apart_are_not() -> None:
    assert observe([(10, 0), (11, 2), (12, 0), (11 + BLIP_SECONDS, 2)])[-1] == 10


def test_an_unknown_sample_says_nothing_and_changes_nothing() -> None:
    assert observe([(10, 0), (11, None), (12, 0)]) == [10, None, 10]


def test_after_a_long_gap_nothing_is_known_of_the_time_before() -> None:
    assert observe([(10, 0), (10 + IDLE_GAP_SECONDS, 0)])[-1] == 10
    assert observe([(10, 0), (11 + IDLE_GAP_SECONDS, 0)])[-1] == 11 + IDLE_GAP_SECONDS


def test_keys_are_told_apart_and_forgotten() -> None:
    times = IdleTimes()
    times.observe("a", 0, 10)
    times.observe("b", 0, 1000)

    times.forget(1001)

    assert set(times.known()) == {"b"}


def test_since_when_is_told_without_a_sample_too() -> None:
    times = IdleTimes()
    times.observe("gpu", 0, 10)

    assert (times.since("gpu"), times.since("other")) == (10, None)


def test_idle_times_go_on_from_what_was_known() -> None:
    times = IdleTimes({"gpu": Idle(since=10, blip_at=None, seen_at=50)})

    assert times.observe("gpu", 0, 60) == 10


@given(st.lists(st.integers(0, 100), min_size=1))
def test_idle_never_began_after_now_nor_while_it_works_hard(percents: list[int]) -> None:
    samples: list[tuple[float, int | None]] = [
        (float(second), percent) for second, percent in enumerate(percents)
    ]

    for (now, percent), since in zip(samples, observe(samples), strict=True):
        assert since is None or since <= now
        assert percent is not None
        assert (since is None) if percent >= 5 else (percent > 0 or since is not None)
