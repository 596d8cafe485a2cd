"""XPUB: every patch to all; the whole picture, or a host's last hour, to whoever asks."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.keys import WEBS
from gpu_monitor.wire.curve.server import Gate

_PATCH = b"patch"
_PICTURE = re.compile(rb"picture/[0-9a-f]{32}")
_RECENT = re.compile(rb"recent/[0-9a-f]{32}/([A-Za-z0-9._:-]{0,253})")
_MAX_ASKING = 1024
_QUEUED_PATCHES = 32
"""Per subscriber; to one that falls further behind patches are lost: it sees the gap in
`sequence` and asks for the picture again. It never blocks the broker or the others."""


class Publisher:
    """Publishes one document. A subscription to `picture/<32 hex>` asks for the whole of it, one
    to `recent/<32 hex>/NAME` for what `recent` answers to that name (None: nothing is known).
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        run_id: str,
        document: Callable[[], dict[str, Any]],
        recent: Callable[[str], dict[str, Any] | None],
        gate: Gate | None = None,
    ) -> None:
        """With a gate only subscribers that it lets in are answered, but for those inside."""
        self._run_id = run_id
        self._document = document
        self._recent = recent
        self._gate = gate
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
        if gate is not None:
            gate.guard(self._socket, WEBS)
        try:
            for endpoint in endpoints:
                self._socket.bind(endpoint)
        except zmq.ZMQError:
            self._socket.close()
            raise

    def endpoint(self) -> str:
        """The last endpoint bound, with the real port where 0 or * was asked for."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._greet)
        self._greet()

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def publish(self, patch: dict[str, Any]) -> None:
        """Sends one patch to all; the document must already be what it makes of the last."""
        self._sequence += 1
        self._picture = None
        message = {"run_id": self._run_id, "sequence": self._sequence, "patch": patch}
        self._send(_PATCH, pack(message))
        self._greet()  # a send may swallow the readiness that a subscription raised

    def _greet(self) -> None:
        """Answers everyone who asks; the picture is packed once until the next patch."""
        if self._loop is None or self._socket.closed:
            return
        asking: dict[bytes, None] = {}
        emptied = False
        try:
            while len(asking) < _MAX_ASKING:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
                message = frame.bytes
                topic = message[1:]
                if self._gate is not None and not self._gate.lets_listen(frame):
                    continue
                if not _PICTURE.fullmatch(topic) and not _RECENT.fullmatch(topic):
                    continue
                if message[:1] == b"\x01":
                    asking[topic] = None
                else:
                    asking.pop(topic, None)
        except zmq.Again:
            emptied = True
        for topic in asking:
            self._answer(topic)
        if asking or not emptied:
            self._loop.call_soon(self._greet)

    def _answer(self, topic: bytes) -> None:
        if asked := _RECENT.fullmatch(topic):
            answer = self._recent(asked[1].decode())
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
