"""What the page costs a browser, compared with a naive page that shows the same fleet.

    python -m bench.page [--gpus 40,800,10000] [--ticks N] [--full]

Chromium opens the page from the project's own web server, which follows a simulated fleet over the
updates link: one patch per second of the fleet's time, sent as soon as the last one is painted.
The naive page (naive.js) shows the same with the same views and style sheet, but receives the whole
document each time, rewrites every row and redraws the whole map. Measured are TaskDuration of the
main thread (CPU time, which depends less on other load), the time from the arrival of a message
until it is painted, and the CPU of all processes. `--full` runs the hour (3,600 ticks) that the
memory goals refer to. Prints measurements beside their goals, asserts nothing. Milliseconds depend
on the machine; compare the ratios.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from subprocess import PIPE
from typing import TypeAlias

from playwright.async_api import Browser

from bench.page.stream import Publisher, Stream
from bench.page.visit import Kept, Painted, Spent, Visit, chromium, visit

TICKS = {40: 400, 800: 200, 10_000: 60}
NAIVE_TICKS = {40: 100, 800: 20, 10_000: 5}
FULL_TICKS = 3600
WARM_TICKS = 5
BATCH = 50
LOADS = 3


@dataclass(frozen=True)
class Loaded:
    """Median cost of opening a page: milliseconds to the first paint and to the first data, and
    kB of the fleet as sent."""

    shell_ms: float
    first_ms: float
    fleet_kb: float


@dataclass(frozen=True)
class Followed:
    """Cost of some ticks: total seconds, milliseconds to paint, resident MB, kB per patch."""

    ticks: int
    spent: Spent
    p95_ms: float
    renderer_mb: float
    before: Kept
    after: Kept
    patch_kb: float

    def each(self, seconds: float) -> float:
        """Milliseconds per tick."""
        return 1000 * seconds / self.ticks


@dataclass(frozen=True)
class Cost:
    """Costs of one page with one fleet; `blank_mb` is the memory of an empty renderer."""

    loaded: Loaded
    followed: Followed
    blank_mb: float


@dataclass(frozen=True)
class Row:
    """A line of the table; `goal` is a maximum, `goal_ratio` a minimum."""

    what: str
    page: float
    naive: float | None = None
    goal: float | None = None
    goal_ratio: float | None = None

    def text(self) -> str:
        ratio = None if self.naive is None else self.naive / max(self.page, 1e-9)
        missed = [
            name
            for name, short in (
                ("goal", self.goal is not None and self.page > self.goal),
                ("ratio", ratio is not None and ratio < (self.goal_ratio or 0)),
            )
            if short
        ]
        cells = [number(value) for value in (self.page, self.goal, self.naive, ratio)]
        cells.append(number(self.goal_ratio))
        verdict = f"missed: {', '.join(missed)}" if missed else "met"
        has_goal = self.goal is not None or self.goal_ratio is not None
        return (
            f"{self.what:38}"
            + "".join(f"{cell:>10}" for cell in cells)
            + (f"  {verdict}" if has_goal else "")
        )


HEAD = f"{'':38}" + "".join(f"{name:>10}" for name in ("page", "goal", "naive", "ratio", "goal"))

Goal: TypeAlias = tuple[float | None, float | None]
GOALS: dict[int, dict[str, Goal]] = {
    40: {"main": (9, 1.9), "patch": (0.6, None), "fleet": (3.9, None)},
    800: {"main": (12, 27), "patch": (9, None), "fleet": (54, None)},
    10_000: {
        "main": (18, 190),
        "browser": (32, 95),
        "p95": (35, 130),
        "first": (650, 5),
        "renderer": (190, 1 / 0.4),
        "patch": (95, None),
        "fleet": (680, None),
    },
}
"""By number of GPUs: the maximum, and the minimum ratio to the naive page. Bytes are per second,
deflated. Every size: the shell within 150 ms, and in an hour at most 0.5 MB of heap growth and 1 %
of nodes leaked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--gpus", default="40,800,10000", help="sizes of the fleet in GPUs, 8 per host"
    )
    parser.add_argument("--ticks", type=int, help="number of ticks for every size")
    parser.add_argument("--full", action="store_true", help=f"{FULL_TICKS} ticks")
    options = parser.parse_args()
    for gpus in map(int, options.gpus.split(",")):
        ticks = FULL_TICKS if options.full else options.ticks or TICKS.get(gpus, 60)
        asyncio.run(compare(gpus, ticks))


async def compare(gpus: int, ticks: int) -> None:
    page = await measure("page", gpus, ticks)
    naive = await measure("naive", gpus, NAIVE_TICKS.get(gpus, 10))
    print(
        f"\n{gpus} GPUs on {gpus // 8} hosts, {page.followed.ticks} ticks (naive"
        f" {naive.followed.ticks}); a blank page uses {page.blank_mb:.0f} MB\n{HEAD}"
    )
    for row in rows(GOALS.get(gpus, {}), page, naive):
        print(row.text(), flush=True)


def rows(goals: dict[str, Goal], page: Cost, naive: Cost) -> list[Row]:
    """The rows of the table."""
    none: Goal = (None, None)
    ours, theirs = page.followed, naive.followed

    def each(what: str, part: str, goal: Goal = none) -> Row:
        page_ms, naive_ms = (side.each(getattr(side.spent, part)) for side in (ours, theirs))
        return Row(what, page_ms, naive_ms, *goal)

    def goal(name: str) -> Goal:
        return goals.get(name, none)

    before, after = ours.before, ours.after
    leaked = (after.all_nodes - after.nodes) - (before.all_nodes - before.nodes)
    return [
        each("main thread, ms per tick", "main", goal("main")),
        each("  in scripts", "script"),
        each("  in style and layout", "layout"),
        each("whole browser, CPU ms per tick", "browser", goal("browser")),
        Row("message to painted, p95 ms", ours.p95_ms, theirs.p95_ms, *goal("p95")),
        Row("first paint of the shell, ms", page.loaded.shell_ms, None, 150),
        Row("first paint of data, ms", page.loaded.first_ms, naive.loaded.first_ms, *goal("first")),
        Row("renderer, MB resident", ours.renderer_mb, theirs.renderer_mb, *goal("renderer")),
        Row("  after garbage collection", after.renderer_mb, theirs.after.renderer_mb),
        Row("  shared files of Chromium", after.files_mb, theirs.after.files_mb),
        Row("heap, MB", after.heap_mb, theirs.after.heap_mb),
        Row(f"  growth in {ours.ticks} ticks", after.heap_mb - before.heap_mb, None, 0.5),
        Row("nodes in the document", after.nodes, theirs.after.nodes),
        Row(f"  % leaked in {ours.ticks} ticks", 100 * leaked / before.all_nodes, None, 1),
        Row("fleet as sent, kB", page.loaded.fleet_kb, naive.loaded.fleet_kb, *goal("fleet")),
        Row("patch as sent, kB per second", ours.patch_kb, theirs.patch_kb, *goal("patch")),
    ]


async def measure(kind: str, gpus: int, ticks: int) -> Cost:
    """Load the page a few times, then follow the ticks on one."""
    publisher = Publisher(Stream(gpus))
    answering = asyncio.ensure_future(answer(publisher))
    try:
        async with server(kind, publisher.endpoint) as url, chromium() as browser:
            async with visit(browser) as page:
                blank = await page.renderer_mb()
            loaded = await load(browser, url)
            async with visit(browser) as page:
                await page.open(url)
                followed = await follow(page, publisher, ticks)
            return Cost(loaded, followed, blank)
    finally:
        answering.cancel()
        publisher.close()


async def load(browser: Browser, url: str) -> Loaded:
    """Open the page a few times without a cache."""
    shells, firsts = [], []
    for _ in range(LOADS):
        async with visit(browser) as page:
            firsts.append(await page.open(url))
            shells.append(await page.shell_ms())
    first_ms = statistics.median(first.at for first in firsts)
    return Loaded(statistics.median(shells), first_ms, firsts[-1].bytes / 1000)


async def follow(page: Visit, publisher: Publisher, ticks: int) -> Followed:
    """Follow ticks, each sent once the previous one is painted; only the time between counts."""
    publisher.prepare(WARM_TICKS)
    await play(page, publisher, WARM_TICKS)
    before = await page.kept()
    spent = Spent(0, 0, 0, 0)
    paints: list[Painted] = []
    while len(paints) < ticks:
        count = min(BATCH, ticks - len(paints))
        publisher.prepare(count)
        began = await page.spent()
        paints += await play(page, publisher, count)
        spent = spent.plus((await page.spent()).since(began))
    took = sorted(paint.took for paint in paints)
    return Followed(
        ticks,
        spent,
        p95_ms=took[min(len(took) - 1, int(0.95 * len(took)))],
        renderer_mb=await page.renderer_mb(),
        before=before,
        after=await page.kept(),
        patch_kb=statistics.fmean(paint.bytes for paint in paints) / 1000,
    )


async def play(page: Visit, publisher: Publisher, count: int) -> list[Painted]:
    """Send this many prepared patches, each after the previous one is painted."""
    paints = []
    for _ in range(count):
        publisher.tick()
        paints.append(await page.painted())
    return paints


async def answer(publisher: Publisher) -> None:
    """Answer requests for pictures and recent hours until cancelled."""
    while True:
        publisher.answer()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def server(kind: str, endpoint: str) -> AsyncIterator[str]:
    """The URL of a server in its own process that follows the publisher."""
    command = (sys.executable, "-m", "bench.page.serve", kind, endpoint)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
