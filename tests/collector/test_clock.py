"""Wall time computed from the boot clock."""

from gpu_monitor.collector.clock import Moment, WallOffset


def test_a_moment_is_the_same_second_whatever_the_clocks_jitter() -> None:
    offset = WallOffset()
    seen = set()
    for wobble in (0.0, 0.2, -0.2, 0.4):
        offset.follow(Moment(0.0, 1000.0, 2000.0 + wobble))
        seen.add(offset.unix(500.999))

    assert seen == {1500}


def test_a_step_of_the_wall_clock_moves_every_time() -> None:
    offset = WallOffset()
    offset.follow(Moment(0.0, 1000.0, 2000.0))
    offset.follow(Moment(1.0, 1001.0, 5001.0))

    assert offset.unix(500.0) == 4500
    assert offset.unix(None) is None
