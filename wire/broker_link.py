"""DEALER: receives the broker's patches, and requests a new picture after a gap or a silence."""

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable
from typing import Any, cast

import zmq

from gpu_monitor.wire.curve.client import Lock
from gpu_monitor.wire.replica import Patch, Replica
from gpu_monitor.wire.update import Update, UpdateError, read_update

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 5.0
"""If the broker is lost for this long, open a new socket: that heals half-open connections, which
TCP notices only after many minutes, and a broker with a new address."""
ANSWER_SECONDS = 2.0
"""A broker that knows the request answers at once; an older one never does."""
LOG_AGAIN_SECONDS = 3600.0
"""A fault of the broker's messages is logged at most this often."""
RENEW_SECONDS = 1.0
"""How often to subscribe to patches again: a connection that libzmq renewed is unknown to the
broker."""
_MAX_UPDATES_PER_TURN = 64
_TURN_SECONDS = 0.02
"""After this the event loop continues: what waits may not delay viewers."""
_QUEUED_UPDATES = 64
"""Updates that wait while this process is busy; any beyond that are dropped, and seen as a gap."""


_UNSENT_REQUESTS = 1024
"""Requests that wait for a connection."""


class Subscriber:
    """Feeds `replica` from the broker at `endpoint`, and passes each patch to `publish`.

    Call `poll` a few times a second. `clock` is in seconds and keeps running during suspend.
    """

    def __init__(
        self,
        endpoint: str,
        context: zmq.Context[Any],
        replica: Replica,
        publish: Callable[[Patch], None],
        clock: Callable[[], float],
        lock: Lock | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._replica = replica
        self._publish = publish
        self._clock = clock
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._picture = b""
        self._requests: dict[str, tuple[bytes, asyncio.Future[Any]]] = {}
        self._logged = (False, "")
        self._malformed_unlogged_until = -math.inf
        self._open()

    def poll(self) -> None:
        """Applies what has arrived; then marks the broker as lost, requests a picture or opens a
        new socket where it is time to."""
        self._drain()
        now = self._clock()
        patch = self._replica.mark_lost(now)
        if patch is not None:
            self._publish(patch)
        self._log_link()
        silent = min(self._replica.silent_seconds(now), now - self._opened_at)
        patience, renewed = RECONNECT_SECONDS, False
        if self._lock is not None:
            patience, renewed = min(patience, self._lock.patience), self._lock.is_changed()
        if renewed or (self._replica.lost and silent >= patience):
            self.close()
            self._open()
            return
        if now - self._renewed_at >= RENEW_SECONDS:
            self._subscribe()
        if self._replica.needs_picture(now):
            self._request_picture()

    async def recent(self, name: str) -> dict[str, Any] | None:
        """The last hour of a host, or of the totals for ""; None if the broker has no such host.

        Concurrent calls for the same host share one request. Raises asyncio.TimeoutError if no
        answer arrives.
        """
        if name not in self._requests:
            topic = b"recent/" + secrets.token_hex(16).encode() + b"/" + name.encode()
            self._requests[name] = (topic, self._loop.create_future())
            self._send(topic)
            self._loop.call_later(ANSWER_SECONDS, self._forget, name, topic)
        answer: dict[str, Any] | None = await asyncio.shield(self._requests[name][1])
        return answer

    def close(self) -> None:
        """Closes the socket without sending or waiting."""
        self._loop.remove_reader(self._fd)
        if self._lock is not None:
            self._lock.take_off()
        self._socket.close(linger=0)

    def _open(self) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _QUEUED_UPDATES)
        socket.setsockopt(zmq.SNDHWM, _UNSENT_REQUESTS)
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
        self._subscribe()
        self._request_picture()

    def _subscribe(self) -> None:
        self._renewed_at = self._clock()
        self._send(b"patch")

    def _request_picture(self) -> None:
        self._picture = b"picture/" + secrets.token_hex(16).encode()
        self._send(self._picture)
        self._replica.note_request(self._clock())

    def _send(self, request: bytes) -> None:
        """Sends a request, or drops it where many wait already: there is no connection then."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(request, zmq.NOBLOCK)
        # The descriptor signals readiness only once: a call on the socket may have cleared it.
        self._loop.call_soon(self._drain)

    def _forget(self, name: str, topic: bytes) -> None:
        """Ends a request, answered or not."""
        known = self._requests.get(name)
        if known is None or known[0] != topic:
            return
        del self._requests[name]
        if not known[1].done():
            known[1].set_exception(asyncio.TimeoutError())
            known[1].exception()  # retrieved here, in case no caller waits any more

    def _answer(self, topic: bytes, answer: dict[str, Any] | None) -> None:
        name = topic.decode(errors="replace").partition("/")[2].partition("/")[2]
        known = self._requests.get(name)
        if known is not None and known[0] == topic:
            known[1].set_result(answer)
            self._forget(name, topic)

    def _drain(self) -> None:
        """Applies updates for one turn of the event loop, the rest in the next."""
        until = time.monotonic() + _TURN_SECONDS
        for _ in range(_MAX_UPDATES_PER_TURN):
            if self._socket.closed:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._accept(frames)
            if time.monotonic() > until:
                break
        self._loop.call_soon(self._drain)

    def _accept(self, frames: list[bytes]) -> None:
        """Applies a message, or counts it where it is not one of a broker."""
        try:
            self._receive(*read_update(frames))
        except UpdateError as error:
            self._replica.malformed += 1
            self._log_malformed(str(error))
            if self._replica.needs_picture(self._clock()):
                self._request_picture()

    def _log_malformed(self, why: str) -> None:
        """Once an hour, whatever is wrong: what sends one such message sends many."""
        now = self._clock()
        if now < self._malformed_unlogged_until:
            return
        self._malformed_unlogged_until = now + LOG_AGAIN_SECONDS
        log.error(
            "what answers at %s sent a message that no broker sends: %s. It is not used; others "
            "are only counted, see gpu_monitor_web_malformed_updates_total",
            self._endpoint,
            why,
        )

    def _receive(self, topic: bytes, update: Update) -> None:
        now = self._clock()
        if topic == b"patch":
            patch = self._replica.apply_patch(update, now)
            if self._replica.needs_picture(now):
                self._request_picture()
        elif topic == self._picture:
            patch = self._replica.apply_picture(update, now)
            self._log_link()
        else:
            if topic.startswith(b"recent/"):
                self._answer(topic, update["recent"])
            return
        if patch is not None:
            self._publish(patch)

    def _log_link(self) -> None:
        """Logs when the broker is lost, lost for another reason, or back.

        At the start it may be silent for `rpc_timeout` before that counts as a loss.
        """
        lost, why = self._replica.lost, ""
        if lost and self._lock is not None:
            why = self._lock.why()
        if why:  # the remedy is for the log only
            self._replica.refusal = f"no connection to the broker: {why.partition(';')[0]}"
        state = (lost, why or self._replica.refusal)
        if state == self._logged or (lost and not self._replica.is_silent(self._clock())):
            return
        self._logged = state
        if not lost:
            log.info("receiving from the broker at %s", self._endpoint)
        elif why:
            log.error("not receiving from the broker at %s: %s", self._endpoint, why)
        elif self._replica.refusal:
            log.error("%s", self._replica.refusal)
        else:
            log.warning("not receiving from the broker at %s", self._endpoint)
