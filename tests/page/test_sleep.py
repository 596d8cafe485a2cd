"""After sleep the page shows nothing outdated as live, and recovers by itself."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.devtools import PATIENCE_SECONDS, Tab, browser_tab
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

STALE_AFTER_SECONDS = 2.0
A_NAP = STALE_AFTER_SECONDS + 0.5
A_SLEEP = 8.0
SETTLED_MS = 3000
"""Time since the page was opened; messages are later than usual while it starts."""
BEFORE = 87
"""Utilization before the sleep, in percent; during the sleep it keeps changing."""

DOUBTS = 3
"""At most three pictures are not live: on waking, on being shown again, and from a timer."""

WATCH = """
window.pictures = [];
let frame = 0;
requestAnimationFrame(function next() {
    frame += 1;
    requestAnimationFrame(next);
});
function record() {
    const live = document.querySelector("#link .pill.live") !== null
        && !document.body.classList.contains("not-live");
    const percent = parseInt(document.querySelector("details.host .cell")?.textContent ?? "");
    const known = pictures.at(-1);
    if (known?.live !== live || known?.percent !== percent) pictures.push({ live, percent, frame });
}
new MutationObserver(record).observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true,
});
record();
"""
"""Record what the page shows, and in which frame, whenever it changes."""


@pytest.fixture
async def tab(house: House, tmp_path: Path) -> AsyncIterator[Tab]:
    """A tab with node1 live on the page, which records what it shows."""
    house.start("up", name="node1", rpc_timeout=STALE_AFTER_SECONDS, interval=0.1, tick=0.1)
    house.host("node1")
    async with browser_tab(tmp_path / "profile") as tab:
        await tab.open(house.url)
        await shows(tab, BEFORE)
        await until(tab, f"performance.now() > {SETTLED_MS}")
        await tab.evaluate(WATCH)
        yield tab


async def until(tab: Tab, condition: str) -> None:
    """Wait until an expression is true in the page."""

    async def wait() -> None:
        while not await tab.evaluate(condition):
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), PATIENCE_SECONDS)


async def shows(tab: Tab, percent: int) -> None:
    """Wait until the page shows that utilization as live."""
    await until(
        tab,
        f"""document.querySelector("#link .pill.live") !== null
            && !document.body.classList.contains("not-live")
            && document.querySelector("details.host .cell")?.textContent.includes("{percent}%")""",
    )


def work(house: House, nvml: FakeNvml, percent: int) -> float:
    """Set the GPU's utilization; return the broker's time once the web server has published it."""

    def published() -> float | None:
        fleet = house.get("api/v1/fleet")
        known = fleet["hosts"]["node1"]["gpus"]["utilization_percent"][0]
        return float(fleet["now"]) if known == percent else None

    nvml.write(Scenario(gpus=[Gpu(utilization_percent=percent, processes=[Process("self")])]))
    return eventually(published, f"{percent} %")


def keep_working(house: House, nvml: FakeNvml, seconds: float) -> dict[int, float]:
    """Keep changing the utilization while the browser sleeps.

    Returns how many seconds before the end each value was replaced.
    """
    start = now = house.get("api/v1/fleet")["now"]
    done, ended_at = BEFORE, {}
    while now < start + seconds:
        percent = done % BEFORE + 1
        ended_at[done] = now = work(house, nvml, percent)
        done = percent
    return {percent: now - at for percent, at in ended_at.items()} | {done: 0.0}


async def check_waking(tab: Tab, passed: dict[int, float]) -> None:
    """Check that nothing old is shown as live and that missed values are not replayed.

    How many pictures the page paints until it has caught up depends on its share of the CPU.
    Each is true when it is painted, and a frame has at most one.
    """
    *_, last = passed
    await shows(tab, last)
    before, *pictures = await tab.evaluate("pictures")
    assert (before["live"], before["percent"]) == (True, BEFORE)
    live = [picture["percent"] for picture in pictures if picture["live"]]
    assert [percent for percent in live if passed[percent] > STALE_AFTER_SECONDS] == []
    ages = [passed[percent] for percent in live]
    assert ages == sorted(ages, reverse=True), (pictures, passed)
    assert len(pictures) - len(live) <= DOUBTS, (pictures, passed)
    frames = pictures[-1]["frame"] - pictures[0]["frame"] + 1
    assert len(pictures) <= frames + 1, (pictures, passed)


@pytest.mark.parametrize("seconds", [A_NAP, A_SLEEP])
async def test_the_page_recovers_when_its_machine_slept(
    tab: Tab, house: House, fake_nvml: FakeNvml, seconds: float
) -> None:
    await tab.stop()
    passed = keep_working(house, fake_nvml, seconds)
    await tab.wake()
    await check_waking(tab, passed)


@pytest.mark.parametrize("seconds", [A_NAP, A_SLEEP])
async def test_the_page_recovers_when_the_browser_froze_it(
    tab: Tab, house: House, fake_nvml: FakeNvml, seconds: float
) -> None:
    await tab.freeze()
    passed = keep_working(house, fake_nvml, seconds)
    await tab.thaw()
    await check_waking(tab, passed)


async def test_the_page_is_not_live_when_it_wakes_without_the_server(
    tab: Tab, house: House, fake_nvml: FakeNvml
) -> None:
    await tab.stop()
    work(house, fake_nvml, BEFORE - 1)
    house.stop("up", by=signal.SIGKILL)
    await asyncio.sleep(A_NAP)  # the browser's own clock decides
    await tab.wake()
    await until(tab, "pictures.length > 1")
    _, *pictures = await tab.evaluate("pictures")
    assert not any(picture["live"] for picture in pictures)
