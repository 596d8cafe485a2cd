"""Whether a password is right: found out in a thread, and remembered for a minute."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable

from gpu_monitor.web.auth.hashing import is_password

REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 4096
AT_ONCE = 2
"""Each takes 16 MiB and a core: the page must go on for the others."""
MAX_WAITING = 64


class Busy(Exception):
    """More passwords wait to be looked at than can be in reasonable time."""


class Passwords:
    """Right ones are remembered as digests under a key of this process; wrong ones are not."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._looking: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def is_new(self, password: str, secret: str) -> bool:
        """Whether nobody has just asked the same, so that it is a guess of its own."""
        digest = self._digest(password, secret)
        return self._right.get(digest, 0.0) <= self._clock() and digest not in self._looking

    async def is_right(self, password: str, secret: str) -> bool:
        """Whether `secret` was made of `password`; whoever asks the same meanwhile waits too."""
        digest = self._digest(password, secret)
        if self._right.get(digest, 0.0) > self._clock():
            return True
        if digest not in self._looking:
            if len(self._looking) >= MAX_WAITING:
                raise Busy
            task = asyncio.get_running_loop().create_task(self._look(password, secret))
            self._looking[digest] = task
            task.add_done_callback(lambda _: self._looking.pop(digest))
        right = await asyncio.shield(self._looking[digest])
        if right:
            self._remember(digest)
        return right

    def __len__(self) -> int:
        return len(self._right)

    async def _look(self, password: str, secret: str) -> bool:
        async with self._turns:
            return await asyncio.to_thread(is_password, password, secret)

    def _remember(self, digest: bytes) -> None:
        self._right[digest] = self._clock() + REMEMBERED_SECONDS
        self._right.move_to_end(digest)
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)

    def _digest(self, password: str, secret: str) -> bytes:
        """The secret holds a salt: the same password of another viewer has another digest."""
        text = f"{secret} {password}".encode("utf-8", "backslashreplace")
        return hmac.digest(self._key, text, "sha256")
