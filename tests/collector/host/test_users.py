"""User names, even while the name service is silent."""

import grp
import os
import pwd
import threading
from collections.abc import Callable

from gpu_monitor.collector.host.users import (
    UNKNOWN_USER_SECONDS,
    USER_NAME_SECONDS,
    UserNames,
    primary_group,
    user_name,
)
from gpu_monitor.collector.source_guard import SourceGuard
from tests.support.house import eventually

WAIT_SECONDS = 30.0


def patient(look_up: Callable[[int], str | None] = user_name) -> UserNames:
    """Waits for every answer, however busy the machine."""
    return UserNames(look_up, WAIT_SECONDS)


def counting(names: dict[int, str]) -> tuple[list[int], Callable[[int], str | None]]:
    asked: list[int] = []

    def look_up(uid: int) -> str | None:
        asked.append(uid)
        return names.get(uid)

    return asked, look_up


def test_a_users_name_comes_from_the_name_service() -> None:
    assert patient().resolve(os.getuid(), 0.0) == pwd.getpwuid(os.getuid()).pw_name


def test_an_unknown_user_is_shown_by_uid() -> None:
    assert user_name(987654321) is None
    assert patient().resolve(987654321, 0.0) == "uid 987654321"


def test_a_name_is_looked_up_every_ten_minutes() -> None:
    asked, look_up = counting({7: "alice"})
    users = patient(look_up)

    names = [users.resolve(7, now) for now in (0.0, 1.0, USER_NAME_SECONDS - 1, USER_NAME_SECONDS)]

    assert names == ["alice"] * 4
    assert asked == [7, 7]


def test_an_unknown_user_is_looked_up_every_minute() -> None:
    asked, look_up = counting({})
    users = patient(look_up)

    for now in (0.0, UNKNOWN_USER_SECONDS - 1, UNKNOWN_USER_SECONDS):
        users.resolve(7, now)

    assert asked == [7, 7]


def test_a_silent_name_service_delays_nothing_and_is_queried_once() -> None:
    answer, asked = threading.Event(), []

    def look_up(uid: int) -> str:
        asked.append(uid)
        answer.wait(WAIT_SECONDS)
        return "alice"

    users = UserNames(look_up)
    silent = [users.resolve(uid, 0.0) for uid in (7, 8, 9, 7)]
    assert silent == ["uid 7", "uid 8", "uid 9", "uid 7"] and asked == [7]

    answer.set()

    eventually(lambda: users.resolve(7, 1.0) == "alice", "the name")


def test_the_last_name_is_kept_while_the_name_service_is_silent() -> None:
    answer = threading.Event()
    names = iter(["alice"])

    def look_up(uid: int) -> str | None:
        if (name := next(names, None)) is None:
            answer.wait(WAIT_SECONDS)
        return name

    users = UserNames(look_up)
    eventually(lambda: users.resolve(7, 0.0) == "alice", "the name")

    assert users.resolve(7, USER_NAME_SECONDS) == "alice"
    answer.set()


def test_a_failing_name_service_is_a_problem_and_the_last_name_is_kept() -> None:
    guard = SourceGuard()
    answers = iter(["alice"])

    def look_up(uid: int) -> str | None:
        if (name := next(answers, None)) is None:
            raise OSError(5, "Input/output error")
        return name

    users = UserNames(look_up, WAIT_SECONDS, guard)
    first = users.resolve(7, 0.0)
    names, problems = [], []
    for minute in range(3):
        names.append(users.resolve(7, USER_NAME_SECONDS + minute * UNKNOWN_USER_SECONDS))
        problems.append([finding.words for finding in guard.settle()])

    assert (first, names) == ("alice", ["alice"] * 3)
    assert problems == [[], [], ["user names cannot be read: Input/output error"]]


def test_a_user_is_not_nameless_because_the_name_service_failed() -> None:
    def look_up(uid: int) -> str | None:
        raise MemoryError

    users = UserNames(look_up, WAIT_SECONDS)

    assert users.resolve(7, 0.0) == "uid 7"
    assert not users.is_nameless(7)


def test_a_users_group_is_the_primary_one_of_the_name_service() -> None:
    name = grp.getgrgid(pwd.getpwuid(os.getuid()).pw_gid).gr_name

    assert primary_group(os.getuid()) == name
    assert patient().group(os.getuid(), 0.0) == name


def test_an_unknown_users_group_is_null() -> None:
    assert primary_group(987654321) is None
    assert patient().group(987654321, 0.0) is None


def test_a_group_that_takes_long_delays_no_name() -> None:
    answer = threading.Event()

    def look_up_group(uid: int) -> str | None:
        answer.wait(WAIT_SECONDS)
        return "physics"

    users = UserNames({7: "alice", 8: "bob"}.get, 0.0, look_up_group=look_up_group)

    assert [users.group(uid, 0.0) for uid in (7, 8)] == [None, None]
    assert eventually(lambda: users.resolve(7, 0.0) == "alice", "alice's name")
    assert eventually(lambda: users.resolve(8, 0.0) == "bob", "bob's name")
    answer.set()
    assert eventually(lambda: users.group(7, 1.0) == "physics", "the group")
