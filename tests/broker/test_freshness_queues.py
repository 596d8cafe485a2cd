"""Freshness behind queues that fill, stand and drain: nothing old is ever shown as live."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.freshness import FRESH, OLD
from tests.support.simulated_line import (
    DELAY,
    LIMIT,
    Clock,
    Delay,
    Simulation,
    ThinLine,
    draining,
    growing,
    stepping,
)

OLDEST_SECONDS = LIMIT + 1.0 + DELAY
GROWTHS = st.floats(0.005, 0.2)
STEPS = st.floats(0.5, 600.0)


@st.composite
def queues(draw: st.DrawFn) -> Delay:
    """A line that is quick for a minute, and then has a queue."""
    kind = draw(st.sampled_from(["thin", "grows", "steps", "drains"]))
    if kind == "thin":
        return ThinLine(draw(st.floats(0.05, 0.99)), draw(st.integers(1, 60)), 60.0)
    if kind == "grows":
        return growing(draw(GROWTHS))
    if kind == "steps":
        return stepping(draw(STEPS), end=draw(st.sampled_from([200.0, float("inf")])))
    return draining(draw(st.floats(5.0, 600.0)), draw(st.floats(1.01, 50.0)))


def jittery(delay: Delay, width: float, seed: int) -> Delay:
    chance = random.Random(seed)

    def jittered(sent: float) -> float | None:
        due = delay(sent)
        return due if due is None else due + chance.random() * width

    return jittered


def drifting(rate: float, ahead: float = 0.0) -> Clock:
    return lambda true: true * (1 + rate) + ahead


@given(
    delay=queues(),
    interval=st.sampled_from([0.2, 0.5, 1.0]),
    width=st.floats(0.0, 0.5),
    drift=st.floats(-500e-6, 500e-6),
    wall=st.sampled_from([0.0, -3600.0, -0.5, 0.5, 3600.0]),
    sleep=st.sampled_from([None, (50.0, 55.0), (80.0, 140.0)]),
    broker_sleep=st.sampled_from([(0.0, 0.0), (50.0, 55.0), (80.0, 140.0)]),
    restart=st.sampled_from([(), (90.0,), (61.0, 100.0)]),
    seed=st.integers(0, 2**32),
)
def test_nothing_older_than_the_timeout_and_a_second_is_live_behind_any_queue(
    delay: Delay,
    interval: float,
    width: float,
    drift: float,
    wall: float,
    sleep: tuple[float, float] | None,
    broker_sleep: tuple[float, float],
    restart: tuple[float, ...],
    seed: int,
) -> None:
    simulation = Simulation(
        interval,
        300.0,
        sender_clock=drifting(drift),
        sender_wall=drifting(drift, wall),
        delay=jittery(delay, width, seed),
        asleep=lambda true: sleep is not None and sleep[0] <= true < sleep[1],
        broker_sleeps=broker_sleep,
        collector_restarts=restart,
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS


@pytest.mark.parametrize("per_second", [0.005, 0.028, 0.2])
def test_a_delay_that_grows_for_hours_makes_the_host_stale(per_second: float) -> None:
    simulation = Simulation(seconds=7200.0, delay=growing(per_second)).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS
    assert simulation.verdicts[-1] is OLD


@pytest.mark.parametrize("seconds", [3.0, 30.0, 600.0])
@pytest.mark.parametrize("wall", [0.0, -3600.0, 3600.0])
def test_a_queue_that_stands_is_never_taken_for_a_clock(seconds: float, wall: float) -> None:
    simulation = Simulation(
        seconds=3600.0,
        delay=stepping(seconds, end=1800.0),
        sender_wall=lambda true: true + wall,
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS
    assert simulation.shown[-1][0] > 3590.0


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("buffer", [1, 3, 60])
def test_a_line_that_is_thin_from_the_start_shows_nothing_old(rate: float, buffer: int) -> None:
    """By the wall clocks; where these say that even the quickest message took longer than
    `rpc_timeout`, that is a finding of its own."""
    simulation = Simulation(seconds=600.0, delay=ThinLine(rate, buffer)).run()
    if not simulation.shown:
        return
    hidden = min(age for _, age, _ in simulation.shown)
    assert simulation.oldest_live() <= OLDEST_SECONDS or hidden > 1.0


@pytest.mark.parametrize("restart", [70.0, 100.5, 250.0])
def test_a_collector_that_restarts_behind_a_queue_does_not_make_it_fresh(restart: float) -> None:
    simulation = Simulation(
        seconds=400.0, delay=stepping(30.0), collector_restarts=(restart, restart + 50.0)
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS


def test_how_late_a_queue_makes_its_samples_is_known() -> None:
    simulation = Simulation(seconds=120.0, delay=stepping(30.0)).run()
    assert simulation.link.late == pytest.approx(30.0, abs=0.1)


def test_a_queue_that_stands_for_hours_is_not_taken_for_a_drift() -> None:
    simulation = Simulation(seconds=4 * 3600.0, delay=stepping(3.0)).run()
    assert simulation.verdicts[-1] is OLD


@pytest.mark.parametrize("delay", [0.6, 0.9, 1.2])
def test_a_delay_that_was_there_from_the_start_counts_where_the_wall_clocks_tell_it(
    delay: float,
) -> None:
    simulation = Simulation(
        seconds=300.0, delay=lambda sent: delay + 0.028 * max(0.0, sent - 60.0)
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS
    assert simulation.verdicts[70] is FRESH and simulation.verdicts[-1] is OLD


def test_a_queue_that_begins_in_a_long_silence_hides_little() -> None:
    """After half an hour a lag that is 0.9 s longer could be a clock's drift."""
    simulation = Simulation(
        seconds=2400.0,
        delay=lambda sent: (0.9 if sent > 1000.0 else 0.0) + 0.1 * max(0.0, sent - 2200.0),
        asleep=lambda true: 100.0 <= true < 2000.0,
        sender_wall=lambda true: true + 3600.0,
    ).run()
    assert simulation.shown[-1][0] > 2200.0
    assert simulation.oldest_live() <= OLDEST_SECONDS


def test_a_single_sample_from_the_future_makes_no_later_one_old() -> None:
    """By both clocks of its sender, so that neither denies the other."""

    def clock(true: float) -> float:
        return true + (1e6 if true == 90.0 else 0.0)

    simulation = Simulation(sender_clock=clock, sender_wall=clock).run()
    assert simulation.longest_silence(2.0, 179.0) <= 2.1
    assert OLD not in simulation.verdicts


@pytest.mark.parametrize("ahead", [-100.0, 100.0])
def test_a_wall_clock_that_is_set_while_a_queue_stands_makes_no_sample_fresh(
    ahead: float,
) -> None:
    simulation = Simulation(
        seconds=300.0,
        delay=stepping(30.0),
        sender_wall=lambda true: true + (ahead if true >= 100.0 else 0.0),
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS


def test_a_wall_clock_that_is_as_much_ahead_as_a_queue_is_long_makes_no_sample_fresh() -> None:
    simulation = Simulation(
        seconds=300.0, delay=stepping(30.0), sender_wall=lambda true: true + 30.0
    ).run()
    assert simulation.oldest_live() <= OLDEST_SECONDS
