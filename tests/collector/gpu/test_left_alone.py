"""Idle GPUs that the kernel may put to sleep: NVML is closed, so that it can."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.rest import FALL_ASLEEP_SECONDS, REST_AFTER_SECONDS, RESTING
from tests.collector.gpu.test_asleep import FIRST, PLACES, SECOND, Host
from tests.fake_nvml import FakeNvml, Scenario
from tests.fake_nvml.scenario import Process

IDLE = [replace(gpu, utilization_percent=0) for gpu in (FIRST, SECOND)]
BUSY = [IDLE[0], replace(IDLE[1], processes=[Process(7)])]
LET_GO = int(REST_AFTER_SECONDS) + 1
"""GPUs are idle from their first reading on, which the driver sees a second later."""


@pytest.fixture
def host(fake_nvml: FakeNvml, tmp_path: Path) -> Iterator[Host]:
    host = Host(fake_nvml, tmp_path)
    fake_nvml.write(Scenario(IDLE))
    yield host
    host.driver.close()


def run(host: Host, seconds: range) -> list[tuple[str, str | None]]:
    """State and reason of each GPU in the last of these seconds."""
    readings = [host.run_round(float(second)) for second in seconds][-1]
    return [(reading.state, reading.reason) for reading in readings]


def is_open(host: Host) -> bool:
    return host.nvml.calls("nvmlInitWithFlags") > host.nvml.calls("nvmlShutdown")


def sleep(host: Host) -> None:
    for place in PLACES:
        host.put(place, "suspended")


OK, FALLING = ("ok", None), ("asleep", RESTING)


def test_nvml_is_closed_after_a_minute_without_work(host: Host) -> None:
    before = run(host, range(LET_GO))
    was_open = is_open(host)
    after = run(host, range(LET_GO, LET_GO + 5))
    calls = host.nvml.calls()
    run(host, range(LET_GO + 5, LET_GO + 10))

    assert (before, was_open) == ([OK, OK], True)
    assert (after, is_open(host)) == ([FALLING, FALLING], False)
    assert host.nvml.calls() == calls


def test_gpus_that_then_sleep_are_not_woken(host: Host) -> None:
    run(host, range(LET_GO + 3))
    sleep(host)
    run(host, range(LET_GO + 3, LET_GO + 4))
    calls = host.nvml.calls()
    shown = run(host, range(LET_GO + 4, 3600))

    assert shown == [("asleep", "asleep to save power")] * 2
    assert (host.nvml.calls(), host.driver.finding) == (calls, None)


def test_a_gpu_that_something_else_wakes_is_read_within_two_seconds(host: Host) -> None:
    run(host, range(LET_GO + 3))
    sleep(host)
    run(host, range(LET_GO + 3, LET_GO + 100))
    host.put(PLACES[1], "active")
    host.nvml.write(Scenario(BUSY))
    shown = run(host, range(LET_GO + 100, LET_GO + 102))

    assert shown == [("asleep", "asleep to save power"), OK]


def test_gpus_that_do_not_fall_asleep_are_read_again(host: Host) -> None:
    run(host, range(LET_GO + int(FALL_ASLEEP_SECONDS)))
    closed = is_open(host)
    shown = run(host, range(LET_GO + int(FALL_ASLEEP_SECONDS), LET_GO + 120))

    assert (closed, is_open(host), shown) == (False, True, [OK, OK])


@pytest.mark.parametrize("control", ["on", "auto"])
def test_gpus_with_work_or_that_may_not_sleep_stay_open(host: Host, control: str) -> None:
    if control == "auto":
        host.nvml.write(Scenario(BUSY))
    host.set_control(PLACES[0], control)
    shown = run(host, range(3 * LET_GO))

    assert (shown, host.nvml.calls("nvmlInitWithFlags")) == ([OK, OK], 1)


def test_they_are_read_again_when_they_may_no_longer_sleep(host: Host) -> None:
    run(host, range(LET_GO + 3))
    host.set_control(PLACES[0], "on")
    shown = run(host, range(LET_GO + 3, LET_GO + 10))

    assert (shown, is_open(host)) == ([OK, OK], True)


def test_nvml_is_not_closed_while_a_thread_is_in_a_call(host: Host) -> None:
    run(host, range(LET_GO))
    assert host.driver.is_due(float(LET_GO))
    host.driver.open(float(LET_GO), is_calm=False)

    assert is_open(host)
    assert host.nvml.calls("nvmlInitWithFlags") == 1
    assert run(host, range(LET_GO + 1, LET_GO + 3)) == [FALLING, FALLING]
