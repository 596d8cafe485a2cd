"""The websocket's handshake: a viewer picks an encoding and maybe hosts, then only listens."""

import asyncio
import base64
import binascii
import hashlib

from aiohttp import HttpVersion11, web

from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.tickets import PREFIX
from gpu_monitor.web.errors import Wrong
from gpu_monitor.web.stream.encodings import ENCODINGS, JSON, Encoding
from gpu_monitor.web.stream.hub import Full, Hub
from gpu_monitor.web.stream.viewer_group import Names

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 4.2.2."""


class Live:
    """The handler of `ws`.

    aiohttp reads the request; then the connection moves to the hub. A connection that stays in
    aiohttp's hands keeps its request, headers, parsers and two tasks: 20 KiB of resident memory
    for a browser that is only ever written to. Moved, it takes 6 (bench/fanout.py).
    """

    def __init__(self, hub: Hub, peers: Peers) -> None:
        self._hub = hub
        self._peers = peers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer the handshake of request[PERSON] and hand the connection over."""
        encoding = pick_encoding(request.headers.getall("Sec-WebSocket-Protocol", []))
        answer = accept(request, encoding)
        names = read_names(request.query.get("hosts"))
        address, person = self._peers.address(request), request[PERSON]
        try:
            self._hub.check_room(address, names, person.role)
        except Full as full:
            raise Wrong(503, str(full), "try again later, or listen without hosts=") from None
        old = request.transport
        if old is not None and not old.is_closing():
            viewer = self._hub.greet(address, person)
            try:
                connection = old.get_extra_info("socket").dup()
            except OSError as error:
                reason = f"no place for a viewer: {error.strerror}"
                raise Wrong(503, reason, "raise the server's limit of open files") from None
            # Closes aiohttp's descriptor only; the connection lives on in its duplicate.
            old.abort()
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: viewer, connection)
            if not viewer.left:
                viewer.to.write(answer)
                self._hub.join(viewer, encoding, names)
        return web.Response()  # for aiohttp, whose connection is gone: it is never sent


def accept(request: web.BaseRequest, encoding: Encoding) -> bytes:
    """The answer to a handshake (RFC 6455, section 4.2), or Wrong where it is none."""
    headers = request.headers
    upgrade = headers.get("Upgrade", "").strip().lower() == "websocket"
    connection = {word.strip().lower() for word in headers.get("Connection", "").split(",")}
    if not upgrade or "upgrade" not in connection or request.version < HttpVersion11:
        hint = "open it with a websocket client; a proxy must pass on Upgrade and Connection"
        raise Wrong(426, "this address is a websocket", hint, {"Upgrade": "websocket"})
    if headers.get("Sec-WebSocket-Version", "").strip() != "13":
        hint = "use Sec-WebSocket-Version: 13"
        raise Wrong(
            426, "unknown version of the websocket protocol", hint, {"Sec-WebSocket-Version": "13"}
        )
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        well_formed = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        well_formed = False
    if not well_formed:
        raise Wrong(400, "Sec-WebSocket-Key is not 16 bytes in base64", "use a websocket client")
    digest = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT_GUID).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + digest,
    ]
    if any(encoding.protocol in offer for offer in headers.getall("Sec-WebSocket-Protocol", [])):
        lines.append(b"Sec-WebSocket-Protocol: " + encoding.protocol.encode())
    return b"\r\n".join([*lines, b"", b""])


def pick_encoding(headers: list[str]) -> Encoding:
    """The first known one of the offered subprotocols; JSON for a client that offers none."""
    names = [name for header in headers for part in header.split(",") if (name := part.strip())]
    offered = [name for name in names if not name.startswith(PREFIX)]
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
