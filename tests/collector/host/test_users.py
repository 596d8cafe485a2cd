"""User names, also while the name service is silent."""

import os
import pwd
import threading
from collections.abc import Callable

import pytest

from gpu_monitor.collector.host import users
from gpu_monitor.collector.host.users import KEPT_SECONDS, UNKNOWN_KEPT_SECONDS, Users, name_of

WAIT_SECONDS = 30.0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that answers is waited for, however busy the machine."""
    monkeypatch.setattr(users, "PATIENCE_SECONDS", WAIT_SECONDS)


def counting(names: dict[int, str]) -> tuple[list[int], Callable[[int], str | None]]:
    asked: list[int] = []

    def look_up(uid: int) -> str | None:
        asked.append(uid)
        return names.get(uid)

    return asked, look_up


@pytest.mark.usefixtures("patient")
def test_a_name_is_the_name_services() -> None:
    assert Users().name(os.getuid(), 0.0) == pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.usefixtures("patient")
def test_an_unknown_user_has_a_number() -> None:
    assert name_of(987654321) is None
    assert Users().name(987654321, 0.0) == "uid 987654321"


@pytest.mark.usefixtures("patient")
def test_a_name_is_asked_for_every_ten_minutes() -> None:
    asked, look_up = counting({7: "alice"})
    users = Users(look_up)

    names = [users.name(7, now) for now in (0.0, 1.0, KEPT_SECONDS - 1, KEPT_SECONDS)]

    assert names == ["alice"] * 4
    assert asked == [7, 7]


@pytest.mark.usefixtures("patient")
def test_an_unknown_name_is_asked_for_every_minute() -> None:
    asked, look_up = counting({})
    users = Users(look_up)

    for now in (0.0, UNKNOWN_KEPT_SECONDS - 1, UNKNOWN_KEPT_SECONDS):
        users.name(7, now)

    assert asked == [7, 7]


def test_a_silent_name_service_holds_up_nothing_and_is_asked_once() -> None:
    answer, asked = threading.Event(), []

    def look_up(uid: int) -> str:
        asked.append(uid)
        answer.wait(WAIT_SECONDS)
        return "alice"

    users = Users(look_up)
    silent = [users.name(uid, 0.0) for uid in (7, 8, 9, 7)]
    answer.set()
    users._answered.wait(WAIT_SECONDS)

    assert silent == ["uid 7", "uid 8", "uid 9", "uid 7"]
    assert asked == [7]
    assert users.name(7, 1.0) == "alice"


def test_the_last_name_stands_while_the_service_is_silent() -> None:
    answer = threading.Event()
    names = iter(["alice"])

    def look_up(uid: int) -> str | None:
        if (name := next(names, None)) is None:
            answer.wait(WAIT_SECONDS)
        return name

    users = Users(look_up)
    users.name(7, 0.0)
    users._answered.wait(WAIT_SECONDS)

    assert users.name(7, KEPT_SECONDS) == "alice"
    answer.set()
    users._answered.wait(WAIT_SECONDS)
