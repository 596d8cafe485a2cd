"""Freshness by simulated links: clocks that drift, step and sleep; cuts, jitter, backlogs."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.freshness import Link, Verdict
from tests.support.simulated_line import DELAY, LIMIT, Clock, Simulation


def jitter(seconds: float, seed: int = 1) -> Callable[[float], float]:
    chance = random.Random(seed)
    return lambda true: 0.001 + chance.random() * seconds


def cut(begin: float, end: float, backlog: bool) -> Callable[[float], float | None]:
    """A link that keeps what is sent during the cut and delivers it afterwards, or loses it."""

    def delay(sent: float) -> float | None:
        if begin <= sent < end:
            return end - sent + DELAY if backlog else None
        return DELAY

    return delay


@given(st.floats(0.0, 0.499), st.floats(-500e-6, 500e-6), st.integers(0, 2**32))
def test_jitter_and_drift_never_make_a_live_host_stale(
    width: float, drift: float, seed: int
) -> None:
    simulation = Simulation(
        seconds=300.0, sender_clock=lambda true: true * (1 + drift), delay=jitter(width, seed)
    ).run()
    assert simulation.longest_silence(3.0, 299.0) <= 1.0 + 0.5 + DELAY


@pytest.mark.parametrize("interval", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seconds", [40.0, 900.0])
@pytest.mark.parametrize("backlog", [True, False])
@pytest.mark.parametrize("drift", [-500e-6, 0.0, 500e-6])
def test_after_a_cut_nothing_old_is_shown_and_the_host_is_soon_live(
    interval: float, seconds: float, backlog: bool, drift: float
) -> None:
    end = 100.0 + seconds
    simulation = Simulation(
        interval,
        end + 60.0,
        sender_clock=lambda true: true * (1 + drift),
        delay=cut(100.0, end, backlog),
    ).run()
    assert simulation.oldest_sample() <= LIMIT + DELAY
    assert simulation.longest_silence(end, end + 59.0) <= 3.0


@pytest.mark.parametrize("pace", [2.0, 5.0, 50.0])
def test_a_backlog_that_drains_slowly_is_never_shown(pace: float) -> None:
    def delay(sent: float) -> float:
        """Messages of 15 minutes arrive at `pace` per second; later ones queue behind them."""
        return max(DELAY, 1000.0 - sent + (sent - 100.0) / pace) if sent >= 100.0 else DELAY

    simulation = Simulation(seconds=3000.0, delay=delay).run()
    assert simulation.oldest_sample() <= LIMIT + DELAY
    assert simulation.shown[-1][0] > 2900.0


@pytest.mark.parametrize("seconds", [40.0, 900.0])
def test_a_broker_that_starts_during_a_cut_shows_nothing_of_the_backlog(seconds: float) -> None:
    end = 100.0 + seconds
    simulation = Simulation(
        seconds=end + 30.0, delay=cut(100.0, end, backlog=True), restarts=(end - 10.0,)
    ).run()
    assert simulation.oldest_sample() <= LIMIT + DELAY
    assert simulation.longest_silence(end, end + 29.0) <= 3.0


@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0])
def test_the_first_sample_of_a_run_waits_for_a_second(interval: float) -> None:
    simulation = Simulation(interval, 10.0).run()
    assert simulation.shown[0][0] == pytest.approx(interval + DELAY)


def test_after_hours_of_silence_a_drifted_clock_is_back_within_3_s() -> None:
    simulation = Simulation(
        seconds=40_060.0,
        sender_clock=lambda true: true * (1 - 500e-6),
        delay=cut(30.0, 40_000.0, backlog=False),
    ).run()
    assert simulation.longest_silence(40_000.0, 40_059.0) <= 3.1


@pytest.mark.parametrize("step", [-3600.0, -30.0, 30.0, 3600.0, 86400.0 * 3650])
def test_after_a_clock_step_a_host_is_stale_for_at_most_3_s(step: float) -> None:
    """A virtual machine that was paused: its boot clock lags from then on; or one that leaps."""
    simulation = Simulation(
        sender_clock=lambda true: true + (step if true > 90.0 else 0.0), delay=jitter(0.4)
    ).run()
    assert simulation.longest_silence(4.0, 179.0) - LIMIT <= 3.0


def test_suspend_of_the_sender_leaves_no_trace() -> None:
    """CLOCK_BOOTTIME keeps running while nothing is sampled."""
    simulation = Simulation(asleep=lambda true: 50.0 <= true < 130.0).run()
    assert simulation.longest_silence(130.0, 179.0) <= 1.1
    assert simulation.oldest_sample() <= LIMIT + DELAY


def test_messages_that_waited_while_the_broker_slept_are_old() -> None:
    simulation = Simulation(delay=cut(50.0, 130.0, backlog=True)).run()
    assert simulation.oldest_sample() <= LIMIT + DELAY
    assert simulation.longest_silence(130.0, 179.0) <= 1.1


def test_a_broker_continues_with_the_second_sample_after_its_own_clock_paused() -> None:
    """The first one, from the future by then, waits for another to confirm it."""
    simulation = Simulation(broker_clock=lambda true: true - (100.0 if true > 90 else 0.0)).run()
    assert simulation.longest_silence(2.0, 179.0) <= 2.1


def test_a_single_sample_from_the_future_costs_at_most_3_s() -> None:
    simulation = Simulation(sender_clock=lambda true: true + (1e6 if true == 90.0 else 0.0)).run()
    assert simulation.longest_silence(2.0, 179.0) - LIMIT <= 3.0


def test_duplicates_and_reordering_are_detected_by_sequence() -> None:
    link = Link()
    verdicts = [
        link.judge(10.0 + number, float(number), 0.0, number, LIMIT) for number in (1, 2, 2, 1, 3)
    ]
    assert verdicts[2:] == [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.FRESH]


def test_age_is_what_exceeds_the_smallest_lag() -> None:
    link = Link()
    for number, late in enumerate((0.0, 0.0, 1.5, 0.25)):
        link.judge(100.0 + number + late, float(number), 0.0, number, LIMIT)
    assert link.age == pytest.approx(0.25, abs=0.01)


@given(
    st.lists(
        st.tuples(
            *(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(-1e9, 1e9), st.integers(0, 2**53))
        )
    )
)
def test_any_clock_readings_lead_to_a_verdict(
    samples: list[tuple[float, float, float, int]],
) -> None:
    link = Link()
    for received, sampled, wall_lag, sequence in samples:
        assert link.judge(received, sampled, wall_lag, sequence, LIMIT) in Verdict
        assert link.age >= 0.0


@dataclass(frozen=True)
class Step:
    """A clock that is ahead by `seconds` from the moment `at` on."""

    at: float = 90.0
    seconds: float = 0.0
    drift: float = 0.0

    def __call__(self, true: float) -> float:
        return true * (1 + self.drift) + (self.seconds if true >= self.at else 0.0)


STEPS = st.one_of(st.floats(-1e5, 1e5), st.sampled_from([-30.0, -2.0, 2.0, 30.0]))
STEPPING = ["sender_clock", "sender_wall", "broker_clock", "broker_wall"]


@given(
    which=st.sampled_from(STEPPING),
    seconds=STEPS,
    drift=st.floats(-500e-6, 500e-6),
    wall_ahead=st.sampled_from([0.0, -3600.0, -1.0, 1.0, 3600.0]),
    width=st.floats(0.0, 0.49),
    interval=st.sampled_from([0.2, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_a_clock_of_either_side_that_steps_makes_no_host_stale_for_more_than_3_s(
    which: str,
    seconds: float,
    drift: float,
    wall_ahead: float,
    width: float,
    interval: float,
    seed: int,
) -> None:
    """A boot clock steps as that of a paused machine does: its wall clock is then set right."""
    clocks: dict[str, Clock] = {
        "sender_clock": Step(drift=drift),
        "sender_wall": Step(0.0, wall_ahead, drift),
        "broker_clock": Step(),
        "broker_wall": Step(),
    }
    step = Step(90.0, seconds, drift if which.startswith("sender") else 0.0)
    stepped = clocks | {which: step}
    if which == "sender_wall":
        stepped[which] = lambda true: step(true) + wall_ahead
    simulation = Simulation(
        interval,
        180.0,
        delay=jitter(width, seed),
        **stepped,  # type: ignore[arg-type]
    ).run()
    assert simulation.longest_stale(5.0, 179.0) <= 3.0
    assert simulation.oldest_live() <= LIMIT + 1.0 + DELAY


def test_a_paused_machine_is_late_until_its_wall_clock_is_set_right() -> None:
    """Until then nothing tells a pause of 30 s from a queue of 30 s."""

    def wall(true: float) -> float:
        return true - (30.0 if 60.0 <= true < 120.0 else 0.0)

    simulation = Simulation(
        sender_clock=lambda true: true - (30.0 if true >= 60.0 else 0.0), sender_wall=wall
    ).run()
    assert simulation.longest_silence(60.0, 119.0) >= 59.0
    assert simulation.longest_silence(120.0, 179.0) <= 3.1


def test_a_wall_clock_that_is_set_right_after_a_pause_ends_the_lateness_whatever_it_was() -> None:
    """It was 70 s behind before the machine was paused, too."""

    def wall(true: float) -> float:
        return true - (100.0 if true >= 60.0 else 70.0) if true < 120.0 else true

    simulation = Simulation(
        sender_clock=lambda true: true - (30.0 if true >= 60.0 else 0.0), sender_wall=wall
    ).run()
    assert simulation.longest_silence(120.0, 179.0) <= 3.1


@given(
    width=st.floats(0.0, 0.5),
    behind=st.floats(0.0, 5.0),
    drift=st.floats(-500e-6, 500e-6),
    seed=st.integers(0, 2**32),
)
def test_jitter_makes_no_host_stale_for_more_than_3_s_whatever_its_wall_clock(
    width: float, behind: float, drift: float, seed: int
) -> None:
    simulation = Simulation(
        seconds=3600.0,
        sender_clock=Step(drift=drift),
        sender_wall=lambda true: true * (1 + drift) - behind,
        delay=jitter(width, seed),
    ).run()
    assert simulation.longest_stale(5.0, 3599.0) <= 1.0


@pytest.mark.parametrize("seconds", [1.2, 1.6, 1.9, 2.0, 2.1])
@pytest.mark.parametrize("interval", [0.2, 1.0])
def test_a_clock_that_loses_about_the_timeout_leaves_its_host_live(
    seconds: float, interval: float
) -> None:
    """Some of its samples are fresh at first, and must not hide that it stepped."""
    simulation = Simulation(interval, sender_clock=Step(90.0, -seconds), delay=jitter(0.25)).run()
    assert simulation.longest_stale(5.0, 179.0) <= 3.0
    assert simulation.longest_stale(96.0, 179.0) <= 0.25 + DELAY
