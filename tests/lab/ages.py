"""Follows a websocket according to docs/protocol.md, and prints a line for each message.

    python ages.py URL SUBPROTOCOL     prints {"at": .., "type": .., "age": ..} until it is killed

`at` is in unix seconds; `age` is the seconds since the broker published the content, by the clock
of the same machine. A line includes changes of a host's state. A message out of order ends the
program with an error; a lost connection is a line of type "lost".
"""

import asyncio
import json
import sys
import time
import zlib
from typing import Any

import aiohttp


async def follow(url: str, protocol: str) -> None:
    while True:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(url, protocols=(protocol,), max_msg_size=0) as socket:
                    await _hear(socket)
            except aiohttp.ClientError:
                pass
        report(type="lost")
        await asyncio.sleep(0.5)


async def _hear(socket: Any) -> None:
    sequence: int | None = None
    async for frame in socket:
        data = frame.data if isinstance(frame.data, str) else zlib.decompress(frame.data, -15)
        message: dict[str, Any] = json.loads(data)
        if message["type"] == "patch":
            assert sequence is not None and message["sequence"] == sequence + 1, message
        assert sequence is None or message["sequence"] > sequence, message
        sequence = message["sequence"]
        change = message.get("fleet") or message["patch"]
        hosts = change.get("hosts", {}).items()
        states = {name: host["state"] for name, host in hosts if host and "state" in host}
        if "now" in change:
            report(type=message["type"], age=time.time() - change["now"], states=states)


def report(**line: object) -> None:
    print(json.dumps({"at": time.time(), **line}), flush=True)


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], sys.argv[2]))
