"""XPUB: every patch to all subscribers; the whole picture, or a host's last hour, on request."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.keys import WEBS
from gpu_monitor.wire.curve.server import CurveServer

_PATCH_TOPIC = b"patch"
_PICTURE_TOPIC = re.compile(rb"picture/[0-9a-f]{32}")
_RECENT_TOPIC = re.compile(rb"recent/[0-9a-f]{32}/([A-Za-z0-9._:-]{0,253})")
_MAX_REQUESTS = 1024
_QUEUED_PATCHES = 32
"""Per subscriber. One that falls further behind loses patches, sees the gap in `sequence` and
requests the picture again. It never blocks the broker or other subscribers."""


class Publisher:
    """Publishes one document.

    A subscription to `picture/<32 hex>` requests the whole document, one to
    `recent/<32 hex>/NAME` what `recent` returns for that name (None if nothing is known).
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        run_id: str,
        document: Callable[[], dict[str, Any]],
        recent: Callable[[str], dict[str, Any] | None],
        auth: CurveServer | None = None,
    ) -> None:
        """With `auth`, a subscriber must have an enrolled key or be in this process."""
        self._run_id = run_id
        self._document = document
        self._recent = recent
        self._auth = auth
        self._sequence = 0
        self._picture: bytes | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.XPUB)
        self._socket.linger = 0
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.SNDHWM, _QUEUED_PATCHES)
        self._socket.setsockopt(zmq.MAXMSGSIZE, 1024)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
        if auth is not None:
            auth.guard(self._socket, WEBS)
        try:
            for endpoint in endpoints:
                self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close()
            raise

    def endpoint(self) -> str:
        """The last endpoint bound, with its real port if 0 or * was requested."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._answer_requests)
        self._answer_requests()

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def publish(self, patch: dict[str, Any]) -> None:
        """Sends one patch to all subscribers; the document must already include it."""
        self._sequence += 1
        self._picture = None
        message = {"run_id": self._run_id, "sequence": self._sequence, "patch": patch}
        self._send(_PATCH_TOPIC, pack(message))
        self._answer_requests()  # sending may clear the readiness that a request raised

    def _answer_requests(self) -> None:
        """Answers all requests; the picture is packed once per patch at most."""
        if self._loop is None or self._socket.closed:
            return
        requests: dict[bytes, None] = {}
        emptied = False
        try:
            while len(requests) < _MAX_REQUESTS:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                message = frame.bytes
                topic = message[1:]
                if self._auth is not None and not self._auth.may_subscribe(frame):
                    continue
                if not _PICTURE_TOPIC.fullmatch(topic) and not _RECENT_TOPIC.fullmatch(topic):
                    continue
                if message[:1] == b"\x01":
                    requests[topic] = None
                else:
                    requests.pop(topic, None)
        except zmq.Again:
            emptied = True
        for topic in requests:
            self._answer(topic)
        if requests or not emptied:
            self._loop.call_soon(self._answer_requests)

    def _answer(self, topic: bytes) -> None:
        if match := _RECENT_TOPIC.fullmatch(topic):
            answer = self._recent(match[1].decode())
            self._send(topic, pack({"run_id": self._run_id, "recent": answer}))
            return
        if self._picture is None:
            fleet = self._document()
            picture = {"run_id": self._run_id, "sequence": self._sequence, "fleet": fleet}
            self._picture = pack(picture)
        self._send(topic, self._picture)

    def _send(self, topic: bytes, data: bytes) -> None:
        self._socket.send(topic, zmq.SNDMORE)
        self._socket.send(data, copy=False)
