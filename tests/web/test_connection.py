"""Requests arrive in time and in bounds, or their connection is closed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.connection import (
    MAX_HEAD_BYTES,
    MAX_UNFINISHED_BYTES,
    MAX_UPLOAD_BYTES,
    pieces_of,
)
from gpu_monitor.web.settings import WebLimits
from tests.support.guarded_house import guarded
from tests.support.web_house import PATIENCE_SECONDS, Follower, House, make_host, web_house

HASTE = WebLimits(request_seconds=0.3)
PATIENT = WebLimits(request_seconds=PATIENCE_SECONDS * 10)
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
FORM = (
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 900\r\n\r\ntoken="
)


@asynccontextmanager
async def connected(
    house: House,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Everything that is received until the server closes, orderly or by a reset."""
    received = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), PATIENCE_SECONDS):
            received += data
    except ConnectionError:
        pass
    return received


async def rejected(house: House) -> dict[str, int]:
    """The counts that are not 0, by reason."""
    async with house.client.get(house.root + "metrics") as answer:
        lines = (await answer.text()).splitlines()
    start = "gpu_monitor_web_rejected_total{reason="
    found = (line.removeprefix(start).split("} ") for line in lines if line.startswith(start))
    return {reason.strip('"'): int(n) for reason, n in found if n != "0"}


@pytest.mark.parametrize("kilobytes", [9, 12, 16, 20])
async def test_the_large_cookie_of_a_single_sign_on_passes(kilobytes: int) -> None:
    async with web_house() as house:
        headers = {"Cookie": f"sso={'x' * kilobytes * 1000}"}
        assert (await house.get("healthz", headers=headers))[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"G", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n", b"HTTP/1.1 408 "),
        (WHOLE + b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 "),
        (FORM, b""),
        (
            FORM.replace(b"Content-Length: 900", b"Transfer-Encoding: chunked") + b"\r\n",
            b"HTTP/1.1 400",
        ),
    ],
)
async def test_half_a_request_is_closed_in_time_and_viewers_stay(
    sent: bytes, status: bytes, tmp_path: Path
) -> None:
    viewers = tmp_path / "viewers"
    viewers.touch(0o600)
    async with guarded(viewers, "token", limits=HASTE) as house, house.watch() as socket:
        follower = Follower(socket)
        await follower.receive()
        async with connected(house) as (reader, writer):
            writer.write(sent)
            answer = await until_closed(reader)
        assert answer.startswith(status) and bool(status) is bool(answer)
        house.broker.send_patch({"hosts": {"b": make_host()}})
        await follower.until(lambda document: "b" in document["hosts"])


async def test_a_request_in_drips_is_closed_in_time() -> None:
    async with web_house(limits=HASTE) as house, connected(house) as (reader, writer):
        ended = asyncio.ensure_future(until_closed(reader))
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait([ended], timeout=0.02)
        assert ended.result().startswith(b"HTTP/1.1 408 ")
        assert await rejected(house) == {"late": 1}


async def test_a_connection_may_rest_between_requests() -> None:
    async with web_house(limits=HASTE) as house, connected(house) as (reader, writer):
        for _ in range(2):
            writer.write(WHOLE)
            await reader.readuntil(b'{"status":"ok"}')
            async with connected(house) as (other, _):
                await until_closed(other)


BIG = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 8000) for number in range(20))


@pytest.mark.parametrize(
    "before",
    [
        [],
        [WHOLE],
        [WHOLE[:-1], WHOLE[-1:]],
        [WHOLE[:-2], WHOLE[-2:]],
        [WHOLE[:-3], WHOLE[-3:]],
        [WHOLE[:-4], WHOLE[-4:]],
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_all_headers_of_a_request_together_are_limited(
    before: list[bytes], at_once: bool
) -> None:
    """Also behind a complete request, however it was divided into segments."""
    async with web_house(limits=PATIENT) as house, connected(house) as (reader, writer):
        for segment in before[:-1]:
            writer.write(segment)
            await asyncio.sleep(0)
            await house.get("healthz")
        if at_once:
            writer.write(b"".join([*before[-1:], b"GET / HTTP/1.1\r\n", BIG]))
        else:
            writer.write(b"".join([*before[-1:], b"GET / HTTP/1.1\r\n"]))
            writer.write(BIG)
        await until_closed(reader)
        assert await rejected(house) == {"oversized": 1}


async def test_the_oldest_unfinished_requests_give_way_to_newer_ones() -> None:
    part = b"GET / HTTP/1.1\r\n" + BIG[: MAX_HEAD_BYTES - 1000]
    crowd = MAX_UNFINISHED_BYTES // len(part) + 5
    async with web_house(limits=PATIENT) as house:
        streams = []
        for _ in range(crowd):
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(part)
            streams.append((reader, writer))
        assert await until_closed(streams[0][0]) == b""
        while (await rejected(house)).get("oversized", 0) < 4:
            await house.get("healthz")
        _, newest = streams[-1]
        newest.write(b"\r\n\r\n")
        assert (await streams[-1][0].readline()).startswith(b"HTTP/1.")
        for _, writer in streams:
            writer.close()


async def test_an_endless_body_is_closed() -> None:
    endless = FORM.replace(b"Content-Length: 900", b"Content-Length: 999999999")
    async with web_house(limits=PATIENT) as house, connected(house) as (reader, writer):
        writer.write(endless + b"x" * 2 * MAX_UPLOAD_BYTES)
        await until_closed(reader)
        assert "oversized" in await rejected(house)


async def test_oversized_bodies_and_messages_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    viewers = tmp_path / "viewers"
    viewers.touch(0o600)
    async with guarded(viewers, "token") as house:
        async with house.client.post(house.root, data={"token": "x" * 2000}) as answer:
            assert answer.status == 413 and "hint" in json.loads(await answer.text())
        assert await rejected(house) == {"oversized": 1}
        async with house.watch() as socket:
            await socket.send_bytes(b"x" * 5000)
            while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        assert await rejected(house) == {"oversized": 2}
    lines = [r.message for r in caplog.records if r.name == "gpu_monitor.web.rejections"]
    assert lines == ["127.0.0.1: the body is too large"]


@given(st.lists(st.sampled_from([b"\r\n\r\n", b"\r\n", b"\n", b"\r", b"ab", b"c"])).map(b"".join))
def test_pieces_end_with_the_last_blank_line(data: bytes) -> None:
    pieces = list(pieces_of(data))
    assert b"".join(pieces) == data and len(pieces) in (1, 2, 3)
    assert len(pieces) == 1 or b"" not in pieces
    last = b"".join(pieces[:-1])[-3:] + pieces[-1]
    assert b"\r\n\r\n" not in last or data.endswith(b"\r\n\r\n")
