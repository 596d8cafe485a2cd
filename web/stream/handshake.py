"""The websocket's handshake: negotiate an encoding, choose hosts, join the hub."""

import asyncio
from collections.abc import Sequence

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.tickets import TICKET_PREFIX
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.rejections import OVERSIZED, Rejections
from gpu_monitor.web.stream.encodings import ENCODINGS, JSON, Encoding
from gpu_monitor.web.stream.hub import SILENT, Hub, HubFull
from gpu_monitor.web.stream.viewer import Viewer
from gpu_monitor.web.stream.viewer_group import HostNames

MAX_VIEWER_MESSAGE_BYTES = 4096
"""Viewers have nothing to say; aiohttp closes the websocket of one that sends more (1009)."""
CLOSING_SECONDS = 0.5
"""How long a viewer may take to answer a close frame."""
_UPGRADE = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


class Handshake:
    """The handler of `ws`."""

    def __init__(self, hub: Hub, proxies: TrustedProxies, rejections: Rejections) -> None:
        self._hub = hub
        self._rejections = rejections
        self._proxies = proxies

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stream to request[PERSON] until either side closes the websocket."""
        websocket = web.WebSocketResponse(
            protocols=ENCODINGS,
            heartbeat=self._hub.limits.ping_seconds,
            timeout=CLOSING_SECONDS,
            max_msg_size=MAX_VIEWER_MESSAGE_BYTES,
            compress=False,
        )
        encoding = negotiate(request, websocket)
        names = parse_hosts(request.query.get("hosts"))
        address, person = self._proxies.client_address(request), request[PERSON]
        try:
            self._hub.check_room(address, names, person.role)
        except HubFull as full:
            raise RequestRefused(503, str(full), "try again later, or omit hosts=") from None
        await websocket.prepare(request)
        transport = request.transport
        if transport is not None:
            viewer = Viewer(address, person, websocket, transport)
            self._hub.join(viewer, encoding, names)
            await self._attend(viewer, websocket)
        return websocket

    async def _attend(self, viewer: Viewer, websocket: web.WebSocketResponse) -> None:
        """Wait for the end: aiohttp answers pings and close frames, anything else ends it."""
        try:
            message = await websocket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._hub.leave(viewer)
                await viewer.close(WSCloseCode.POLICY_VIOLATION, "this stream is one-way")
            elif isinstance(websocket.exception(), asyncio.TimeoutError):
                self._hub.drop(viewer, SILENT)
            elif _is_too_big(message):
                self._rejections.count(OVERSIZED, f"{viewer.address}: a message is too large")
        finally:
            self._hub.leave(viewer)
            if not viewer.is_drained:
                viewer.reset()


def _is_too_big(message: WSMessage) -> bool:
    error = message.data
    return isinstance(error, WebSocketError) and error.code == WSCloseCode.MESSAGE_TOO_BIG


def negotiate(request: web.BaseRequest, websocket: web.WebSocketResponse) -> Encoding:
    """The first known subprotocol that the client offers; JSON if it offers none."""
    ready = websocket.can_prepare(request)
    if not ready:
        hint = "use a websocket client (version 13); a proxy must pass on Upgrade and Connection"
        raise RequestRefused(426, "this address is a websocket", hint, _UPGRADE)
    if ready.protocol is not None:
        return ENCODINGS[ready.protocol]
    if offered_encodings(request.headers.getall("Sec-WebSocket-Protocol", [])):
        hint = f"offer one of: {', '.join(ENCODINGS)}"
        raise RequestRefused(400, "no offered subprotocol is known", hint)
    return JSON


def offered_encodings(headers: Sequence[str]) -> list[str]:
    """The subprotocols that a client offers, without its ticket."""
    names = [name.strip() for header in headers for name in header.split(",")]
    return [name for name in names if name and not name.startswith(TICKET_PREFIX)]


def parse_hosts(hosts: str | None) -> HostNames | None:
    """The names in `hosts=a,b`; None (all hosts) without it. Unknown names match nothing."""
    if hosts is None:
        return None
    return frozenset(name for part in hosts.split(",") if (name := part.strip()))
