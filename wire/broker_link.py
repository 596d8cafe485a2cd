"""SUB: the broker's pictures and patches are heard; a gap or a silence asks for a new picture."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, cast

import zmq

from gpu_monitor.wire.codec import unpack
from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Following, Patch

LOG = logging.getLogger(__name__)

REBUILD_SECONDS = 5.0
"""A broker lost for so long gets a new socket: it heals half-open connections, which TCP itself
notices only after many minutes, and an address that has moved."""
ANSWER_SECONDS = 2.0
"""A broker that knows the question answers at once; an older one never does."""
_RECEIVE_HIGH_WATER = 64
"""Updates waiting while this process is busy; what is dropped beyond it is seen as a gap."""


class Subscriber:
    """Feeds `following` from the broker at `endpoint` and hands each patch to `publish`.

    `look` must be called a few times a second; `clock` gives seconds and runs on in suspend.
    """

    def __init__(
        self,
        endpoint: str,
        context: zmq.Context[Any],
        following: Following,
        publish: Callable[[Patch], None],
        clock: Callable[[], float],
        lock: Lock | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._following = following
        self._publish = publish
        self._clock = clock
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._picture = b""
        self._questions: dict[str, tuple[bytes, asyncio.Future[Any]]] = {}
        self._said = (False, "")
        self._open()

    def look(self) -> None:
        """Hear what has come, then judge: lost, ask again, or start over with a new socket."""
        self._drain()
        now = self._clock()
        patch = self._following.look(now)
        if patch is not None:
            self._publish(patch)
        self._say()
        silent = min(self._following.silent_seconds(now), now - self._opened_at)
        patience, renewed = REBUILD_SECONDS, False
        if self._lock is not None:
            patience, renewed = min(patience, self._lock.patience), self._lock.is_changed()
        if renewed or (self._following.lost and silent >= patience):
            self.close()
            self._open()
        elif self._following.wants_picture(now):
            self._ask()

    async def recent(self, name: str) -> dict[str, Any] | None:
        """The last hour of a host, of the totals for ""; None when the broker knows no such host.

        Whoever asks the same meanwhile shares the answer; asyncio.TimeoutError when none comes.
        """
        if name not in self._questions:
            topic = b"recent/" + secrets.token_hex(16).encode() + b"/" + name.encode()
            self._questions[name] = (topic, self._loop.create_future())
            self._subscribe(topic)
            self._loop.call_later(ANSWER_SECONDS, self._forget, name, topic)
        answer: dict[str, Any] | None = await asyncio.shield(self._questions[name][1])
        return answer

    def close(self) -> None:
        """Leave the broker; nothing is sent or awaited."""
        self._loop.remove_reader(self._fd)
        if self._lock is not None:
            self._lock.take_off()
        self._socket.close(linger=0)

    def _open(self) -> None:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _RECEIVE_HIGH_WATER)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.IPV6, 1)
        if self._lock is not None:
            self._lock.put_on(socket)
        self._socket = socket
        self._fd = cast(int, socket.getsockopt(zmq.FD))
        self._opened_at = self._clock()
        self._loop.add_reader(self._fd, self._drain)
        socket.connect(self._endpoint)
        socket.setsockopt(zmq.SUBSCRIBE, b"patch")
        self._picture = b""
        self._ask()

    def _ask(self) -> None:
        """A subscription under a new name is a question; `patch` before it keeps the order."""
        if self._picture:
            self._socket.setsockopt(zmq.UNSUBSCRIBE, self._picture)
        self._picture = b"picture/" + secrets.token_hex(16).encode()
        self._subscribe(self._picture)
        self._following.asked(self._clock())

    def _subscribe(self, topic: bytes) -> None:
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        # The descriptor tells of news only once: a call on the socket may have swallowed it.
        self._loop.call_soon(self._drain)

    def _forget(self, name: str, topic: bytes) -> None:
        """The question is over, answered or not."""
        known = self._questions.get(name)
        if known is None or known[0] != topic:
            return
        del self._questions[name]
        if not known[1].done():
            known[1].set_exception(asyncio.TimeoutError())
            known[1].exception()  # whoever asked may have gone
        if not self._socket.closed:
            self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)

    def _answer(self, topic: bytes, answer: dict[str, Any] | None) -> None:
        name = topic.decode().partition("/")[2].partition("/")[2]
        known = self._questions.get(name)
        if known is not None and known[0] == topic:
            known[1].set_result(answer)
            self._forget(name, topic)

    def _drain(self) -> None:
        while not self._socket.closed:
            try:
                topic, data = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._hear(topic, cast(dict[str, Any], unpack(data)))

    def _hear(self, topic: bytes, update: dict[str, Any]) -> None:
        now = self._clock()
        if topic == b"patch":
            patch = self._following.hear_patch(update, now)
            if self._following.wants_picture(now):
                self._ask()
        elif topic == self._picture:
            patch = self._following.hear_picture(update, now)
            self._say()
        else:
            if topic.startswith(b"recent/"):
                self._answer(topic, update["recent"])
            return
        if patch is not None:
            self._publish(patch)

    def _say(self) -> None:
        """One line when the broker is lost or heard again, and one when the reason is another; at
        the start it may take its time."""
        lost, why = self._following.lost, ""
        if lost and self._lock is not None:
            why = self._lock.why()
        if why:  # what is to be done about it is for the log only
            self._following.refusal = f"the broker is not heard: {why.partition(';')[0]}"
        said = (lost, why or self._following.refusal)
        if said == self._said or (lost and not self._following.is_silent(self._clock())):
            return
        self._said = said
        if not lost:
            LOG.info("the broker at %s is heard", self._endpoint)
        elif why:
            LOG.error("the broker at %s is not heard: %s", self._endpoint, why)
        elif self._following.refusal:
            LOG.error("%s", self._following.refusal)
        else:
            LOG.warning("the broker at %s is not heard", self._endpoint)
