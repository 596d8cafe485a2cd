"""wire.slow_lookup: a service that hangs holds up neither its caller nor the end of the process."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from gpu_monitor.wire.slow_lookup import (
    answer_within,
    answered,
    slow_lookup,
    slow_lookups,
    wait_for,
)

WAIT_SECONDS = 30.0
"""No test waits this long unless it is about to fail."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lookups that wait for it hang until the test sets it, at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_an_answer_that_comes_in_time_is_returned() -> None:
    lookup = slow_lookup("-".join, ["a", "b"], thread_name="test")
    assert answer_within(lookup, WAIT_SECONDS, "default") == "a-b"


def test_a_lookup_that_hangs_returns_the_default_now_and_the_answer_later(
    release: threading.Event,
) -> None:
    lookup = slow_lookup(release.wait, WAIT_SECONDS, thread_name="test")
    assert not lookup.done() and not wait_for(lookup, 0.0)
    assert answer_within(lookup, 0.0, False) is False
    release.set()
    assert wait_for(lookup, WAIT_SECONDS) and lookup.result() is True


def test_an_unexpected_error_is_logged_and_returns_the_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    lookup = slow_lookup(int, "no number", thread_name="numbers")
    assert answer_within(lookup, WAIT_SECONDS, 7) == 7
    assert caplog.messages == ["numbers: the lookup failed"]


def test_a_finished_lookup_needs_no_thread() -> None:
    lookup = answered("known")
    assert lookup.done() and answer_within(lookup, 0.0, "default") == "known"


def test_many_lookups_share_a_few_threads() -> None:
    used: set[str] = set()
    both_started = threading.Barrier(2)

    def ask(number: int) -> int:
        if number < 2:  # the first two wait for each other: two threads must be at work
            both_started.wait(WAIT_SECONDS)
        used.add(str(threading.get_ident()))
        return -number

    lookups = slow_lookups(ask, range(20), threads=2, thread_name="test")
    assert wait(lookups.values(), WAIT_SECONDS).not_done == set()
    assert {key: lookup.result() for key, lookup in lookups.items()} == {n: -n for n in range(20)}
    assert len(used) == 2


def test_a_lookup_that_hangs_does_not_cost_the_others_their_answers(
    release: threading.Event,
) -> None:
    lookups = slow_lookups(
        lambda name: name == "hangs" and release.wait(WAIT_SECONDS),
        ["hangs", "a", "b", "c"],
        threads=2,
        thread_name="test",
    )
    assert [wait_for(lookups[name], WAIT_SECONDS) for name in "abc"] == [True] * 3
    assert not lookups["hangs"].done()


def test_no_keys_need_no_threads() -> None:
    assert slow_lookups(str, [], threads=8, thread_name="test") == {}


def test_a_started_lookup_cannot_be_cancelled_under_its_thread(release: threading.Event) -> None:
    lookup = slow_lookup(release.wait, WAIT_SECONDS, thread_name="test")
    assert not lookup.cancel()


def test_a_system_that_can_start_no_thread_returns_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert answer_within(slow_lookup(str, thread_name="test"), 0.0, "default") == "default"


@pytest.mark.processes
def test_a_lookup_that_hangs_does_not_delay_the_end_of_the_process() -> None:
    program = (
        "import threading\n"
        "from gpu_monitor.wire.slow_lookup import slow_lookup\n"
        "slow_lookup(threading.Event().wait, thread_name='hangs for ever')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=WAIT_SECONDS)
