"""A web server that asks for a sign-in, and requests to it with any headers."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from gpu_monitor.web.auth.hashing import hash_token
from tests.support.cheap_hashes import cheap_hash
from tests.support.web_house import (
    House,
    make_host,
    wait_for,
    web_house,
)

TOKEN, GONE, OTHER = "right-token", "removed-token", "other-token"
DUE, CLOSED = {200, 101, 404, 503}, {401, 403, 429}


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


Headers: TypeAlias = tuple[tuple[str, str], ...]
USER = "X-Remote-User"
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "token": {"sign_in": "token"},
    "basic": {"sign_in": "basic"},
    "proxy": {"sign_in": "proxy"},
    "proxy elsewhere": {"sign_in": "proxy", "trusted_proxies": ("198.51.100.1",)},
}
KEY = {
    "token": {"Authorization": f"Bearer {TOKEN}"},
    "basic": {"Authorization": basic("alice", TOKEN)},
    "proxy": {USER: "alice"},
}


def write(path: Path, mode: str, *, gone: bool = True) -> None:
    hashed = cheap_hash if mode == "basic" else hash_token
    lines = [
        f"alice commands {hashed(TOKEN)}",
        f"bob counts {hashed('bobs')}",
        f"tokenful names {hash_token(OTHER)}" if mode == "basic" else "",
        "proxied names -",
        f"gone commands {hashed(GONE)}" if gone else "",
    ]
    path.write_text("\n".join(lines) + "\n")


@asynccontextmanager
async def guarded(viewers: Path, mode: str, **more: Any) -> AsyncIterator[House]:
    """A house that shows host a, in a mode of SETTINGS; the viewer `gone` still exists."""
    write(viewers, mode)
    own = {"viewers": str(viewers)} if mode != "none" else {}
    chosen = {"rpc_timeout": 30.0, "base_path": "/gpus", **SETTINGS[mode], **own, **more}
    async with web_house(KEY.get(mode), **chosen) as house:
        if mode in KEY or mode == "none":
            await house.show(a=make_host())
        yield house


async def remove_gone(house: House, viewers: Path, mode: str) -> None:
    """Remove the viewer `gone`, and wait until the server has noticed."""
    write(viewers, mode, gone=False)
    headers = {
        "token": {"Authorization": f"Bearer {GONE}"},
        "basic": {"Authorization": basic("gone", GONE)},
        "proxy": {USER: "gone"},
    }.get(mode)
    if headers is not None:
        own = {"Authorization": ""} | headers if mode == "proxy" else headers

        async def refused() -> bool:
            return await ask(house, "readyz", tuple(own.items())) in CLOSED

        await wait_for(refused)


numbers = iter(range(1, 1 << 16))


async def ask(house: House, path: str, headers: Headers, method: str = "GET") -> int:
    """The status of a request from an address of its own."""
    number = next(numbers)
    lines = [f"{method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    names = {name for name, _ in headers}
    if "Host" not in names:
        lines.append("Host: x")
    if "Connection" not in names:
        lines.append("Connection: close")
    if "X-Forwarded-For" not in names:
        lines.append(f"X-Forwarded-For: 10.{number >> 8}.{number & 255}.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status = await reader.readline()
    writer.close()
    return int(status.split(b" ")[1])


def handshake(protocol: str) -> Headers:
    offer = (("Sec-WebSocket-Protocol", protocol),) if protocol else ()
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
        *offer,
    )
