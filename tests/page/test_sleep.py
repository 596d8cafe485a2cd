"""A browser that slept shows nothing it missed as live, and is live again by itself."""

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
"""Since the page was opened: how late messages come while it starts is no measure for later."""
BEFORE = 87
"""What the GPU does before the sleep, in percent; during it something else every moment."""

DOUBTS = 3
"""Pictures that are not live: of the doubt itself, of the page being shown again, of a timer."""

WATCH = """
window.pictures = [];
let frame = 0;
requestAnimationFrame(function next() {
    frame += 1;
    requestAnimationFrame(next);
});
function look() {
    const live = document.querySelector("#link .pill.live") !== null
        && !document.body.classList.contains("not-live");
    const percent = parseInt(document.querySelector("details.host .cell")?.textContent ?? "");
    const known = pictures.at(-1);
    if (known?.live !== live || known?.percent !== percent) pictures.push({ live, percent, frame });
}
new MutationObserver(look).observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true,
});
look();
"""
"""Notes what the page shows, and in which frame, each time that it has drawn something else."""


@pytest.fixture
async def tab(house: House, tmp_path: Path) -> AsyncIterator[Tab]:
    """A tab with the page, node1 live on it; what it shows from now on is noted."""
    house.start("up", name="node1", rpc_timeout=STALE_AFTER_SECONDS, interval=0.1, tick=0.1)
    house.host("node1")
    async with browser_tab(tmp_path / "profile") as tab:
        await tab.open(house.url)
        await shows(tab, BEFORE)
        await until(tab, f"performance.now() > {SETTLED_MS}")
        await tab.evaluate(WATCH)
        yield tab


async def until(tab: Tab, holds: str) -> None:
    """Until an expression holds in the page."""

    async def wait() -> None:
        while not await tab.evaluate(holds):
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), PATIENCE_SECONDS)


async def shows(tab: Tab, percent: int) -> None:
    """Until the page shows that as live."""
    await until(
        tab,
        f"""document.querySelector("#link .pill.live") !== null
            && !document.body.classList.contains("not-live")
            && document.querySelector("details.host .cell")?.textContent.includes("{percent}%")""",
    )


def work(house: House, nvml: FakeNvml, percent: int) -> float:
    """The broker's time when the GPU works that much and the web server has told so."""

    def told() -> float | None:
        fleet = house.get("api/v1/fleet")
        known = fleet["hosts"]["node1"]["gpus"]["utilization_percent"][0]
        return float(fleet["now"]) if known == percent else None

    nvml.write(Scenario(gpus=[Gpu(utilization_percent=percent, processes=[Process("self")])]))
    return eventually(told, f"{percent} %")


def pass_by(house: House, nvml: FakeNvml, seconds: float) -> dict[int, float]:
    """What goes on while the browser sleeps: what the GPU did, and how long before the end it
    did something else.
    """
    start = now = house.get("api/v1/fleet")["now"]
    done, ended_at = BEFORE, {}
    while now < start + seconds:
        percent = done % BEFORE + 1
        ended_at[done] = now = work(house, nvml, percent)
        done = percent
    return {percent: now - at for percent, at in ended_at.items()} | {done: 0.0}


async def check_waking(tab: Tab, passed: dict[int, float]) -> None:
    """Nothing old is shown as live, and what was missed is not replayed.

    How many fresh pictures a page paints until it has caught up depends on how much of the CPU it
    gets; each is true when it is painted, and there is at most one in a frame.
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
async def test_a_machine_that_slept(
    tab: Tab, house: House, fake_nvml: FakeNvml, seconds: float
) -> None:
    await tab.stop()
    passed = pass_by(house, fake_nvml, seconds)
    await tab.wake()
    await check_waking(tab, passed)


@pytest.mark.parametrize("seconds", [A_NAP, A_SLEEP])
async def test_a_page_that_the_browser_froze(
    tab: Tab, house: House, fake_nvml: FakeNvml, seconds: float
) -> None:
    await tab.freeze()
    passed = pass_by(house, fake_nvml, seconds)
    await tab.thaw()
    await check_waking(tab, passed)


async def test_a_machine_that_woke_where_the_server_cannot_be_reached(
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
