"""The websocket: a viewer picks an encoding and maybe hosts, then only listens."""

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import WSMsgType, web

from .api import Wrong
from .framing import ENCODINGS, JSON, Encoding
from .hub import Full, Hub, Names

HEARTBEAT_SECONDS = 20.0
"""A ping so often keeps the connection through proxies, which cut silent ones after 60 s."""
CLOSING_SECONDS = 0.5
MAX_MESSAGE_BYTES = 4096
_PINGS = 10
"""A viewer may send so many pings at once, and one more each second."""


class Live:
    """The handler of `ws`; `clock` counts seconds."""

    def __init__(self, hub: Hub, clock: Callable[[], float]) -> None:
        self._hub = hub
        self._clock = clock

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One viewer, from handshake to close."""
        encoding = pick_encoding(request.headers.getall("Sec-WebSocket-Protocol", []))
        names = read_names(request.query.get("hosts"))
        address = request.remote or ""
        try:
            self._hub.check_room(address, names)
        except Full as full:
            raise Wrong(503, str(full), "try again later, or listen without hosts=") from None
        socket = web.WebSocketResponse(
            timeout=CLOSING_SECONDS,
            autoping=False,
            heartbeat=HEARTBEAT_SECONDS,
            protocols=(encoding.protocol,),
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        to = cast(asyncio.WriteTransport, transport)
        viewer = self._hub.join(socket, to, encoding, names, address)
        try:
            spoke = await self._listen(socket)
        finally:
            self._hub.leave(viewer)
        if spoke:
            await socket.close(code=1008, message=b"this server only tells")
        return socket

    async def _listen(self, socket: web.WebSocketResponse) -> bool:
        """Answer pings until the viewer goes; True when it says anything, or pings too much."""
        pings, at = float(_PINGS), self._clock()
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.PONG:
                continue
            if message.type is not WSMsgType.PING:
                return message.type in (WSMsgType.TEXT, WSMsgType.BINARY)
            now = self._clock()
            pings, at = min(_PINGS, pings + now - at) - 1, now
            if pings < 0:
                return True
            await socket.pong(message.data)


def pick_encoding(headers: list[str]) -> Encoding:
    """The first known one of the offered subprotocols; JSON for a client that offers none."""
    offered = [name for header in headers for part in header.split(",") if (name := part.strip())]
    for name in offered:
        if name in ENCODINGS:
            return ENCODINGS[name]
    if offered:
        known = ", ".join(ENCODINGS)
        raise Wrong(400, "none of the subprotocols is known here", f"offer one of: {known}")
    return JSON


def read_names(hosts: str | None) -> Names | None:
    """The hosts of `hosts=a,b`; None (all of them) without it. Unknown ones match nothing."""
    if hosts is None:
        return None
    return frozenset(name for part in hosts.split(",") if (name := part.strip()))
