"""Hashes of tokens and passwords, and how long a right password is remembered."""

import asyncio
import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth import password_check
from gpu_monitor.web.auth.hashing import (
    NO_SECRET,
    NOBODYS_PASSWORD,
    hash_password,
    hash_token,
    is_password,
    kind_of,
    new_token,
)
from gpu_monitor.web.auth.password_check import MAX_REMEMBERED, REMEMBERED_SECONDS, Busy, Passwords

CHEAP = "scrypt:2:1:1:"


def cheap_hash(password: str) -> str:
    """As `hash_password` makes it, with parameters that cost nothing."""
    import hashlib

    salt = b"s" * 16
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    parts = [base64.urlsafe_b64encode(data).decode().rstrip("=") for data in (salt, key)]
    return CHEAP + ":".join(parts)


def test_tokens_are_256_random_bits_that_may_stand_in_a_url() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(base64.urlsafe_b64decode(token + "=")) for token in tokens} == {32}


def test_a_password_is_told_from_another_and_salted() -> None:
    one, other = hash_password("correct horse"), hash_password("correct horse")
    assert one != other
    assert is_password("correct horse", one) and is_password("correct horse", other)
    assert not is_password("correct horsf", one)
    assert "horse" not in one


def test_the_parameters_that_stand_in_a_hash_are_used() -> None:
    assert is_password("x", cheap_hash("x")) and not is_password("y", cheap_hash("x"))


def test_nobodys_password_is_none_that_can_be_found() -> None:
    assert kind_of(NOBODYS_PASSWORD) == "password"
    assert not is_password("", NOBODYS_PASSWORD)


def test_a_hash_says_of_what_it_is() -> None:
    assert kind_of(hash_token("a")) == "token"
    assert kind_of(cheap_hash("a")) == "password"
    assert kind_of(NO_SECRET) == "none"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:12",
        "sha256:zz",
        "md5:12",
        "scrypt:16384:8:5:a",
        cheap_hash("a").replace(":2:1:1:", ":3:1:1:"),
        cheap_hash("a").replace(":2:1:1:", ":0:1:1:"),
        cheap_hash("a").replace(":2:1:1:", ":-2:1:1:"),
        cheap_hash("a").replace(":2:1:1:", ":1048576:32:1:"),
        cheap_hash("a").replace(":2:1:1:", ":x:1:1:"),
        cheap_hash("a") + "aaaa",
        cheap_hash("a")[:-1] + "!",
    ],
)
def test_what_is_no_hash_of_ours_is_none(text: str) -> None:
    assert kind_of(text) is None


@given(st.text(alphabet="scryptha256:0-_=9é", max_size=40))
def test_any_text_is_some_kind_or_none(text: str) -> None:
    assert kind_of(text) in {"token", "password", "none", None}


@given(st.text())
def test_any_text_may_be_a_token_or_a_password(text: str) -> None:
    assert kind_of(hash_token(text)) == "token"
    assert not is_password(text + "x", cheap_hash("a"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_right_password_is_remembered_for_a_while_and_a_wrong_one_never() -> None:
    clock = Clock()
    passwords = Passwords(clock)
    secret = cheap_hash("right")
    assert not await passwords.is_right("wrong", secret)
    assert passwords.is_new("wrong", secret)
    assert await passwords.is_right("right", secret)
    assert not passwords.is_new("right", secret)
    clock.now = REMEMBERED_SECONDS
    assert passwords.is_new("right", secret)


async def test_with_another_hash_it_is_looked_at_again() -> None:
    passwords = Passwords(Clock())
    assert await passwords.is_right("right", cheap_hash("right"))
    assert not await passwords.is_right("right", cheap_hash("other"))


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_check, "MAX_REMEMBERED", 3)
    passwords = Passwords(Clock())
    for number in range(5):
        assert await passwords.is_right(str(number), cheap_hash(str(number)))
    assert len(passwords) == 3
    assert passwords.is_new("0", cheap_hash("0")) and not passwords.is_new("4", cheap_hash("4"))
    assert MAX_REMEMBERED > 3


async def test_the_same_password_is_looked_at_once_and_only_so_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, looks = threading.Event(), []

    def look(password: str, secret: str) -> bool:
        looks.append(password)
        return go.wait(60)

    monkeypatch.setattr(password_check, "is_password", look)
    monkeypatch.setattr(password_check, "MAX_WAITING", 3)
    passwords = Passwords(Clock())
    asking = [asyncio.ensure_future(passwords.is_right(p, "s")) for p in ("a", "a", "b", "c")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not passwords.is_new("a", "s")
    with pytest.raises(Busy):
        await passwords.is_right("d", "s")
    go.set()
    assert await asyncio.gather(*asking) == [True] * 4
    assert sorted(looks) == ["a", "b", "c"]
