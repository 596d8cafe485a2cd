"""Password verification in threads, with a short memory for right ones."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

from gpu_monitor.web.auth.hashing import is_password

REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 4096
PARALLEL_CHECKS = 2
"""Each takes 16 MiB and a core, and the page must stay responsive for others."""
MAX_WAITING = 64


class TooManyChecks(Exception):
    """More passwords wait for verification than can be done in reasonable time."""


class PasswordChecker:
    """Remembers right passwords as digests under a key of this process; never wrong ones.

    `check(password, secret)` runs in a thread.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        check: Callable[[str, str], bool] = is_password,
        max_remembered: int = MAX_REMEMBERED,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._clock = clock
        self._check = check
        self._max_remembered = max_remembered
        self._max_waiting = max_waiting
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(PARALLEL_CHECKS)

    def __len__(self) -> int:
        return len(self._right)

    def is_new(self, password: str, secret: str) -> bool:
        """Whether this pair is neither remembered nor being verified: then it is a guess."""
        digest = self._digest(password, secret)
        return self._right.get(digest, 0.0) <= self._clock() and digest not in self._running

    async def verify(self, password: str, secret: str) -> bool:
        """Whether `secret` is the hash of `password`; concurrent calls share one computation.

        TooManyChecks if too many others wait already.
        """
        digest = self._digest(password, secret)
        if self._right.get(digest, 0.0) > self._clock():
            return True
        if digest not in self._running:
            self._start(digest, password, secret)
        right = await asyncio.shield(self._running[digest])
        if right:
            self._remember(digest)
        return right

    def _start(self, digest: bytes, password: str, secret: str) -> None:
        if len(self._running) >= self._max_waiting:
            raise TooManyChecks
        task = asyncio.get_running_loop().create_task(self._compute(password, secret))
        self._running[digest] = task
        task.add_done_callback(lambda _: self._running.pop(digest))

    async def _compute(self, password: str, secret: str) -> bool:
        async with self._turns:
            return await asyncio.to_thread(self._check, password, secret)

    def _remember(self, digest: bytes) -> None:
        self._right[digest] = self._clock() + REMEMBERED_SECONDS
        self._right.move_to_end(digest)
        if len(self._right) > self._max_remembered:
            self._right.popitem(last=False)

    def _digest(self, password: str, secret: str) -> bytes:
        """The secret contains a salt, so equal passwords of two viewers have two digests."""
        text = f"{secret} {password}".encode("utf-8", "backslashreplace")
        return hmac.digest(self._key, text, "sha256")
