"""Processes followed by pidfd: their end is noticed, up to a limit of processes."""

import os
import resource

from gpu_monitor.collector.host.pidfds import PidFds, most_followed
from tests.support.processes import NO_SUCH_PID, Child


def test_a_followed_process_is_known_to_have_ended(child: Child) -> None:
    pidfds, process = PidFds(), child()
    assert pidfds.follow(process.pid) and pidfds.is_followed(process.pid)
    before = pidfds.ended()

    process.kill()
    process.wait()

    assert before == set()
    assert pidfds.ended() == {process.pid}
    pidfds.forget(process.pid)
    assert pidfds.ended() == set() and not pidfds.is_followed(process.pid)


def test_without_pidfd_open_no_process_is_followed() -> None:
    pidfds = PidFds(pidfd_open=None)

    assert not pidfds.follow(os.getpid()) and not pidfds.is_followed(os.getpid())
    assert pidfds.ended() == set()


def test_processes_are_followed_up_to_a_limit(child: Child) -> None:
    pidfds, others = PidFds(limit=1), child()

    assert pidfds.follow(os.getpid()) and not pidfds.follow(others.pid)
    assert pidfds.follow(os.getpid())  # again: it replaces the first pidfd
    pidfds.forget(os.getpid())
    assert pidfds.follow(others.pid)
    pidfds.forget(others.pid)


def test_pidfds_take_at_most_a_quarter_of_the_open_files() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert 0 < most_followed() <= soft / 4


def test_a_missing_process_is_not_followed() -> None:
    assert not PidFds().follow(NO_SUCH_PID)
