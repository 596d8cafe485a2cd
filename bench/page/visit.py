"""A page in Chromium, and its costs as measured through DevTools."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Browser, CDPSession, Page, async_playwright

INSTRUMENT = Path(__file__).with_name("instrument.js")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 120.0
COUNT_NODES = """() => {
  const walker = document.createTreeWalker(document);
  let nodes = 1;
  while (walker.nextNode()) nodes += 1;
  return nodes;
}"""


@dataclass(frozen=True)
class Painted:
    """A painted message: milliseconds since the page was opened and since the message arrived,
    and its size in bytes."""

    at: float
    took: float
    bytes: int


@dataclass(frozen=True)
class Spent:
    """CPU seconds so far: the page's main thread, its scripts, its style and layout, and all
    processes of the browser."""

    main: float
    script: float
    layout: float
    browser: float

    def since(self, before: "Spent") -> "Spent":
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Spent(*(now - then for now, then in pairs))

    def plus(self, more: "Spent") -> "Spent":
        return Spent(*map(sum, zip(astuple(self), astuple(more), strict=True)))


@dataclass(frozen=True)
class Kept:
    """Memory after garbage collection.

    MB of heap, nodes in the document, and all nodes. The latter include the browser's own, such as
    those inside a search field; if the rest of the nodes outside the document grows, it leaks. Also
    the resident MB of the process, and the part that is Chromium's own files, shared by all of
    its processes.
    """

    heap_mb: float
    nodes: int
    all_nodes: int
    renderer_mb: float
    files_mb: float


class Visit:
    """An open page; `painted` waits until the next message is painted."""

    def __init__(self, page: Page, cdp: CDPSession, browser: CDPSession) -> None:
        self._page = page
        self._cdp = cdp
        self._browser = browser
        self._paints: asyncio.Queue[Painted] = asyncio.Queue()
        cdp.on("Runtime.bindingCalled", self._hear)

    async def open(self, url: str) -> Painted:
        """Open the page with an empty cache; returns the first painted data."""
        await self._cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        await self._cdp.send("Runtime.enable")
        await self._cdp.send("Runtime.addBinding", {"name": "benchPainted"})
        await self._page.add_init_script(path=INSTRUMENT)
        await self._page.goto(url, wait_until="commit")
        return await self.painted()

    async def painted(self) -> Painted:
        return await asyncio.wait_for(self._paints.get(), PATIENCE_SECONDS)

    async def shell_ms(self) -> float:
        """Milliseconds from opening the page to its first paint."""
        found: float = await self._page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
        )
        return found

    async def words(self, selector: str) -> str:
        """The text of the page, as laid out."""
        return await self._page.inner_text(selector)

    async def spent(self) -> Spent:
        answer = (await self._cdp.send("Performance.getMetrics"))["metrics"]
        metrics = {metric["name"]: metric["value"] for metric in answer}
        return Spent(
            metrics["TaskDuration"],
            metrics["ScriptDuration"],
            metrics["LayoutDuration"] + metrics["RecalcStyleDuration"],
            sum(process["cpuTime"] for process in await self._processes()),
        )

    async def renderer_mb(self) -> float:
        """Resident memory of the page's process."""
        return float(psutil.Process(await self._renderer()).memory_info().rss) / 1e6

    async def kept(self) -> Kept:
        for _ in range(2):
            await self._cdp.send("HeapProfiler.collectGarbage")
        heap = await self._cdp.send("Runtime.getHeapUsage")
        counters = await self._cdp.send("Memory.getDOMCounters")
        nodes = await self._page.evaluate(COUNT_NODES)
        status = Path(f"/proc/{await self._renderer()}/status").read_text()
        (files_kib,) = re.findall(r"^RssFile:\s*(\d+) kB$", status, re.MULTILINE)
        return Kept(
            heap["usedSize"] / 1e6,
            nodes,
            counters["nodes"],
            await self.renderer_mb(),
            int(files_kib) * 1024 / 1e6,
        )

    async def _renderer(self) -> int:
        """The page's process: the largest renderer, because Chromium keeps a spare one."""
        pids = [each["id"] for each in await self._processes() if each["type"] == "renderer"]
        return max(map(int, pids), key=lambda pid: psutil.Process(pid).memory_info().rss)

    async def _processes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._browser.send("SystemInfo.getProcessInfo"))[
            "processInfo"
        ]
        return found

    def _hear(self, event: dict[str, Any]) -> None:
        if event["name"] == "benchPainted":
            self._paints.put_nowait(Painted(**json.loads(event["payload"])))


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, headless."""
    path = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("Chromium is missing: tools/setup test installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        await browser.close()


@asynccontextmanager
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """A desktop-sized page that is not opened yet."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    yield Visit(page, await context.new_cdp_session(page), await browser.new_browser_cdp_session())
    await context.close()
