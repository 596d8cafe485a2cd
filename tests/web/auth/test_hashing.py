"""Hashes of tokens and passwords, and how long a right password is remembered."""

import asyncio
import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth.hashing import (
    DUMMY_PASSWORD_HASH,
    NO_SECRET,
    hash_password,
    hash_token,
    is_password,
    kind_of,
    new_token,
)
from gpu_monitor.web.auth.password_check import (
    REMEMBERED_SECONDS,
    PasswordChecker,
    TooManyChecks,
)
from tests.support.cheap_hashes import cheap_hash


def test_tokens_are_256_random_bits_and_url_safe() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(base64.urlsafe_b64decode(token + "=")) for token in tokens} == {32}


def test_password_hashes_are_salted_and_distinguish_passwords() -> None:
    one, other = hash_password("correct horse"), hash_password("correct horse")
    assert one != other
    assert is_password("correct horse", one) and is_password("correct horse", other)
    assert not is_password("correct horsf", one)
    assert "horse" not in one


def test_verification_uses_the_parameters_in_the_hash() -> None:
    assert is_password("x", cheap_hash("x")) and not is_password("y", cheap_hash("x"))


def test_the_dummy_hash_matches_no_password() -> None:
    assert kind_of(DUMMY_PASSWORD_HASH) == "password"
    assert not is_password("", DUMMY_PASSWORD_HASH)


def test_a_hash_reveals_its_kind() -> None:
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
def test_anything_else_is_not_a_hash(text: str) -> None:
    assert kind_of(text) is None


@given(st.text(alphabet="scryptha256:0-_=9é", max_size=40))
def test_any_text_has_a_kind_or_none(text: str) -> None:
    assert kind_of(text) in {"token", "password", "none", None}


@given(st.text())
def test_any_text_can_be_a_token_or_a_password(text: str) -> None:
    assert kind_of(hash_token(text)) == "token"
    assert not is_password(text + "x", cheap_hash("a"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_correct_password_is_remembered_for_a_while_and_a_wrong_one_never() -> None:
    clock = Clock()
    passwords = PasswordChecker(clock)
    secret = cheap_hash("right")
    assert not await passwords.verify("wrong", secret)
    assert passwords.is_new("wrong", secret)
    assert await passwords.verify("right", secret)
    assert not passwords.is_new("right", secret)
    clock.now = REMEMBERED_SECONDS
    assert passwords.is_new("right", secret)


async def test_a_password_is_verified_again_when_its_hash_changes() -> None:
    passwords = PasswordChecker(Clock())
    assert await passwords.verify("right", cheap_hash("right"))
    assert not await passwords.verify("right", cheap_hash("other"))


async def test_the_number_of_remembered_passwords_is_limited() -> None:
    passwords = PasswordChecker(Clock(), max_remembered=3)
    for number in range(5):
        assert await passwords.verify(str(number), cheap_hash(str(number)))
    assert len(passwords) == 3
    assert passwords.is_new("0", cheap_hash("0")) and not passwords.is_new("4", cheap_hash("4"))


async def test_concurrent_checks_of_one_password_share_a_thread_and_few_may_wait() -> None:
    go, checked = threading.Event(), []

    def check(password: str, secret: str) -> bool:
        checked.append(password)
        return go.wait(60)

    passwords = PasswordChecker(Clock(), check, max_waiting=3)
    pending = [asyncio.ensure_future(passwords.verify(p, "s")) for p in ("a", "a", "b", "c")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not passwords.is_new("a", "s")
    with pytest.raises(TooManyChecks):
        await passwords.verify("d", "s")
    go.set()
    assert await asyncio.gather(*pending) == [True] * 4
    assert sorted(checked) == ["a", "b", "c"]
