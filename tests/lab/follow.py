"""Follows the websocket like a page, and prints a line for each sighting of a host.

    python follow.py URL        prints {"at": seconds, "host": name, "state": ..} until killed

`at` is this machine's monotonic clock. A host is sighted when readings of it arrive.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import aiohttp

RETRY_SECONDS = 0.05


async def follow(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await _hear(session, url)
            await asyncio.sleep(RETRY_SECONDS)


async def _hear(session: aiohttp.ClientSession, url: str) -> None:
    states: dict[str, str] = {}
    async with session.ws_connect(
        url, protocols=("gpu-monitor.v1.json",), max_msg_size=0
    ) as socket:
        async for message in socket:
            body: dict[str, Any] = json.loads(message.data)
            for name, host in (body.get("fleet") or body["patch"]).get("hosts", {}).items():
                if host is None:
                    continue
                states[name] = host.get("state", states.get(name, ""))
                if {"state", "gpus", "system"} & host.keys():
                    gpus = host.get("gpus", {})
                    sight = {
                        "at": time.monotonic(),
                        "host": name,
                        "state": states[name],
                        "version": host.get("collector", {}).get("version"),
                        "temperature": gpus.get("temperature_celsius"),
                    }
                    print(json.dumps(sight), flush=True)


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1]))
