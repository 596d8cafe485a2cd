"""A viewer who is removed from the viewers' file is signed out within seconds."""

from pathlib import Path

import aiohttp
import pytest

from gpu_monitor.web.main import HUB_TICK_SECONDS, TICKS_PER_ACCOUNTS_POLL
from gpu_monitor.web.stream.handshake import CLOSING_SECONDS
from tests.support.guarded_house import GONE, KEY, USER, ask, basic, guarded, write
from tests.support.web_house import (
    PATIENCE_SECONDS,
)


def test_a_removed_viewer_is_noticed_within_five_seconds() -> None:
    assert TICKS_PER_ACCOUNTS_POLL * HUB_TICK_SECONDS + CLOSING_SECONDS < 5


@pytest.mark.parametrize("mode", ["token", "basic", "proxy"])
async def test_a_removed_viewer_loses_open_websockets(mode: str, viewers: Path) -> None:
    async with guarded(viewers, mode) as house:
        keys = {
            "token": {"Authorization": f"Bearer {GONE}"},
            "basic": {"Authorization": basic("gone", GONE)},
            "proxy": {USER: "gone"},
        }
        async with (
            house.watch() as staying,
            house.watch(headers=keys[mode]) as leaving,
        ):
            await leaving.receive(timeout=PATIENCE_SECONDS)
            write(viewers, mode, gone=False)
            while (await leaving.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert leaving.close_code == 1008
            assert (await staying.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT


async def test_a_file_that_becomes_unusable_closes_every_websocket(viewers: Path) -> None:
    async with guarded(viewers, "token") as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        viewers.chmod(0o644)
        while (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1008
        assert await ask(house, "readyz", tuple(KEY["token"].items())) == 401
