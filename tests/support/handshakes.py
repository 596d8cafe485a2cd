"""Handshakes of websockets as bytes, so that each header can be wrong."""

import base64
import os


def handshake(path: str = "/ws", **more: str) -> bytes:
    """A request for a websocket; `more` replaces headers, or with "" removes them."""
    headers = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    headers.update({name.replace("_", "-"): value for name, value in more.items()})
    lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items() if v), "", ""]
    return "\r\n".join(lines).encode()
