"""ROUTER: every patch to all subscribers; the whole picture, or a host's last hour, on request."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import zmq

from gpu_monitor.broker.request_budget import PICTURE_COST, RequestBudget
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.keys import WEBS
from gpu_monitor.wire.curve.server import CURVE_BYTES, CurveServer, cut, peer_of

TOO_MANY_REQUESTS = "too many requests"
"""The reason for cutting off a subscriber that floods."""
_PATCH_TOPIC = b"patch"
_PICTURE_TOPIC = re.compile(rb"picture/[0-9a-f]{32}")
_RECENT_TOPIC = re.compile(rb"recent/[0-9a-f]{32}/([A-Za-z0-9._:-]{0,253})")
_MAX_REQUEST_BYTES = 1024
_MAX_FRAMES_PER_TURN = 256
_TURN_SECONDS = 0.02
"""After this the event loop continues: requests may not delay the tick."""
_QUEUED_REQUESTS = 16
"""Per subscriber; beyond it TCP slows the subscriber down, so that a flood takes no memory."""
_QUEUED_PATCHES = 32
"""Per subscriber. One that falls further behind loses patches, sees the gap in `sequence` and
requests the picture again. It never blocks the broker or other subscribers."""

Refuse: TypeAlias = Callable[[str, str, str, float], None]
"""Counts and logs a refusal: reason, peer, detail, and the boot clock."""


class Publisher:
    """Publishes one document.

    A subscriber is a DEALER socket. It sends `patch` to receive all patches from then on,
    `picture/<32 hex>` for the whole document, and `recent/<32 hex>/NAME` for what `recent` returns
    for that name (None if nothing is known). Unlike the subscriptions of XPUB, which libzmq stores
    without a limit, requests wait in the connection's queue until they are read.
    """

    def __init__(
        self,
        endpoints: Iterable[str],
        context: zmq.Context[zmq.Socket[bytes]],
        run_id: str,
        document: Callable[[], dict[str, Any]],
        recent: Callable[[str], dict[str, Any] | None],
        refuse: Refuse,
        auth: CurveServer | None = None,
    ) -> None:
        """With `auth`, a subscriber must have an enrolled key or be in this process."""
        self._run_id = run_id
        self._document = document
        self._recent = recent
        self._refuse = refuse
        self._auth = auth
        self._sequence = 0
        self._picture: zmq.Frame | None = None
        self._subscribers: set[bytes] = set()
        self._budgets: dict[bytes, RequestBudget] = {}
        self._sender = b""
        """Of the message whose frames are being read; empty between messages."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.SNDHWM, _QUEUED_PATCHES),
            (zmq.RCVHWM, _QUEUED_REQUESTS),
            (zmq.MAXMSGSIZE, _MAX_REQUEST_BYTES + (CURVE_BYTES if auth else 0)),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 30),
        ):
            self._socket.setsockopt(option, value)
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
        loop.add_reader(self._socket.fileno(), self._drain)
        self._drain()

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def publish(self, patch: dict[str, Any]) -> None:
        """Sends one patch to all subscribers; the document must already include it."""
        self._sequence += 1
        self._picture = None
        message = {"run_id": self._run_id, "sequence": self._sequence, "patch": patch}
        data = zmq.Frame(pack(message))
        for subscriber in list(self._subscribers):
            self._send(subscriber, _PATCH_TOPIC, data)
        self._forget_unused_budgets()
        if self._loop is not None:
            self._loop.call_soon(self._drain)  # sending may clear the readiness of a request

    def _forget_unused_budgets(self) -> None:
        now = time.monotonic()
        for peer in [p for p, budget in self._budgets.items() if budget.is_full(now)]:
            del self._budgets[peer]

    def _drain(self) -> None:
        """Answers requests for one turn of the event loop, the rest in the next."""
        if self._loop is None or self._socket.closed:
            return
        until = time.monotonic() + _TURN_SECONDS
        try:
            for _ in range(_MAX_FRAMES_PER_TURN):
                self._accept_frame(self._socket.recv(zmq.NOBLOCK, copy=False))
                if time.monotonic() > until:
                    break
        except zmq.Again:
            self._sender = b""  # the rest of a message is lost with its connection
            return
        self._loop.call_soon(self._drain)

    def _accept_frame(self, frame: zmq.Frame) -> None:
        """Takes a message frame by frame: of one with thousands, each counts as a request."""
        if (
            not self._sender
        ):  # without more frames it is no sender's name, but a lost message's rest
            self._sender = frame.bytes if frame.more else b""
            return
        sender, self._sender = self._sender, self._sender if frame.more else b""
        topic = frame.bytes
        cost = PICTURE_COST if topic.startswith(b"picture/") else 1.0
        now = time.monotonic()
        budget = self._budgets.setdefault(sender, RequestBudget(now))
        if budget.spend(cost, now):
            if self._auth is None or self._auth.may_subscribe(frame):
                self._answer(sender, topic)
            return
        self._subscribers.discard(sender)
        # libzmq must not lose a connection in the middle of a message that is being read
        if not frame.more and cut(frame) and not budget.refused:
            budget.refused = True
            detail = f"more than it may send; the connection is closed, it began {topic[:40]!r}"
            self._refuse(TOO_MANY_REQUESTS, peer_of(frame), detail, boottime())

    def _answer(self, sender: bytes, topic: bytes) -> None:
        if topic == _PATCH_TOPIC:
            self._subscribers.add(sender)
        elif _PICTURE_TOPIC.fullmatch(topic):
            self._send(sender, topic, self._packed_picture())
        elif match := _RECENT_TOPIC.fullmatch(topic):
            answer = {"run_id": self._run_id, "recent": self._recent(match[1].decode())}
            self._send(sender, topic, zmq.Frame(pack(answer)))

    def _packed_picture(self) -> zmq.Frame:
        """Packed once per patch at most."""
        if self._picture is None:
            picture = {
                "run_id": self._run_id,
                "sequence": self._sequence,
                "fleet": self._document(),
            }
            self._picture = zmq.Frame(pack(picture))
        return self._picture

    def _send(self, subscriber: bytes, topic: bytes, data: zmq.Frame) -> None:
        """Sends a message, unless the subscriber's queue is full; forgets one that is gone."""
        try:
            self._socket.send(subscriber, zmq.SNDMORE | zmq.NOBLOCK)
            self._socket.send(topic, zmq.SNDMORE | zmq.NOBLOCK)
            self._socket.send(data, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            pass
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._subscribers.discard(subscriber)
