"""The page benchmark: its stream is reproducible, and both pages show the same fleet."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from bench.page.__main__ import answer, server
from bench.page.stream import Publisher, Stream
from bench.page.visit import chromium, visit
from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.patch import merge
from tests.support.house import ROOT


def test_the_same_fleet_gives_the_same_stream() -> None:
    one, other = Stream(24), Stream(24)
    assert one.document == other.document
    assert [one.patch() for _ in range(5)] == [other.patch() for _ in range(5)]


def test_the_patches_of_a_stream_lead_from_one_document_to_the_next() -> None:
    stream = Stream(24)
    document: Any = unpack(pack(stream.document))
    for _ in range(12):
        document = merge(document, stream.patch())
    assert document == stream.document
    assert document["totals"]["gpus"] >= 24


async def words_of(kind: str) -> list[str]:
    """The text that a page shows for a small fleet."""
    publisher = Publisher(Stream(24))
    answering = asyncio.ensure_future(answer(publisher))
    try:
        async with (
            server(kind, publisher.endpoint) as url,
            chromium() as browser,
            visit(browser) as page,
        ):
            await page.open(url)
            parts = ("header", "#summary", "#controls", "#hosts", "#users")
            return [await page.words(part) for part in parts]
    finally:
        answering.cancel()
        publisher.close()


@pytest.mark.browser
async def test_the_naive_page_shows_the_same_text() -> None:
    page, naive = await words_of("page"), await words_of("naive")
    assert "free" in naive[3]
    assert naive == page


@pytest.mark.browser
def test_the_bench_measures_both_pages() -> None:
    command = (sys.executable, "-m", "bench.page", "--gpus", "16", "--ticks", "3")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("main thread")]
    page, naive, ratio = map(float, line.split()[-3:])
    assert page > 0 and naive > 0 and ratio > 0
