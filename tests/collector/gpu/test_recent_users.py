"""Whose processes were on a GPU just before something happened to it."""

import os
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.recent_users import RECENT_USER_SECONDS, RecentUsers

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def make_process(proc: Path, pid: int, uid: int) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    os.chown(folder, uid, uid)


@needs_root
def test_users_are_the_owners_of_processes_other_than_root(tmp_path: Path) -> None:
    for pid, uid in ((11, 1000), (12, 1000), (13, 1001), (14, 0)):
        make_process(tmp_path, pid, uid)
    users = RecentUsers(str(tmp_path))
    users.update([11, 12, 14], 0.0)
    assert users.uids(0.0) == {1000}
    users.update([13, 99], 1.0)
    assert users.uids(1.0) == {1000, 1001}


@needs_root
def test_a_user_is_remembered_for_some_seconds_after_the_process_has_ended(tmp_path: Path) -> None:
    make_process(tmp_path, 11, 1000)
    users = RecentUsers(str(tmp_path))
    users.update([11], 0.0)
    (tmp_path / "11").rmdir()
    users.update([11], 1.0)  # the driver still lists it
    users.update([], 2.0)
    assert users.uids(RECENT_USER_SECONDS) == {1000}
    assert users.uids(1.0 + RECENT_USER_SECONDS) == frozenset()


def test_a_process_that_is_not_visible_belongs_to_no_known_user(tmp_path: Path) -> None:
    users = RecentUsers(str(tmp_path))
    users.update([11], 0.0)
    assert users.uids(0.0) == frozenset()
