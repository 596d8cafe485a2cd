"""broker.load_stats: what is reported of the load, and when."""

from gpu_monitor.broker.load_stats import LOAD_SECONDS, Load


def report(load: Load, now: float) -> dict[str, float]:
    answer = load.report(now)
    assert answer is not None
    return answer


def test_maxima_start_again_after_each_report_and_counts_only_grow() -> None:
    load = Load()
    load.count_received(messages=5, waiting=4)
    load.count_received(messages=2, waiting=3)
    load.overtaken += 1
    for late_seconds in (-0.1, 0.3, 0.02):
        load.count_tick(late_seconds)
    assert report(load, 0.0) == {
        "messages": 7,
        "overtaken_messages": 1,
        "waiting_messages": 4,
        "tick_late_seconds": 0.3,
    }
    load.count_received(messages=1, waiting=1)
    load.count_tick(-0.2)
    assert report(load, LOAD_SECONDS) == {
        "messages": 8,
        "overtaken_messages": 1,
        "waiting_messages": 1,
        "tick_late_seconds": 0.0,
    }


def test_the_load_is_reported_every_ten_seconds_at_most() -> None:
    load = Load()
    assert [load.report(at / 2) is not None for at in range(41)] == [
        at % 20 == 0 for at in range(41)
    ]
