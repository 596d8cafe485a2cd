"""Guesses are limited per address, over real requests."""

import asyncio
from pathlib import Path

from gpu_monitor.web.settings import WebLimits
from tests.support.guarded_house import TOKEN, ask, basic, guarded

ONE_BURST = WebLimits(seconds_per_guess=3600.0)
"""No further guess is granted while a test runs, however slow the machine."""


async def test_an_address_that_guesses_passwords_must_wait_and_others_need_not(
    viewers: Path,
) -> None:
    async with guarded(viewers, "basic", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.7")
        wrong = ("Authorization", basic("alice", "wrong"))
        answers = [await ask(house, "readyz", (here, wrong)) for _ in range(12)]
        assert answers == [401] * 10 + [429] * 2
        fresh = ("Authorization", basic("bob", "bobs"))
        known = ("Authorization", basic("alice", TOKEN))
        assert await ask(house, "readyz", (here, fresh)) == 429
        assert await ask(house, "readyz", (here, known)) == 200
        assert await ask(house, "readyz", (fresh,)) == 200


async def test_guessing_in_parallel_does_not_help(viewers: Path) -> None:
    async with guarded(viewers, "basic", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.8")
        tries = [
            ask(house, "readyz", (here, ("Authorization", basic("alice", str(n)))))
            for n in range(50)
        ]
        answers = await asyncio.gather(*tries)
        assert answers.count(401) == 10 and answers.count(429) == 40


async def test_a_valid_token_never_waits(viewers: Path) -> None:
    async with guarded(viewers, "token", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.9")
        wrong = ("Authorization", "Bearer wrong")
        answers = [await ask(house, "readyz", (here, wrong)) for _ in range(12)]
        assert answers == [401] * 10 + [429] * 2
        right = ("Authorization", f"Bearer {TOKEN}")
        assert await ask(house, "readyz", (here, right)) == 200
