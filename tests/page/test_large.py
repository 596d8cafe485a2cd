"""The page of 100 and of 1,250 hosts in Chromium: fast, as it fills only rows near the screen."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.page.test_map import cell
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

NEAR_ROWS = 40
"""A 900 px screen plus 300 px above and below shows 32 rows, in stretches of 8."""
HEAP_MB = 6
TICKS_SECONDS = 5
LARGE_FLEET_SECONDS = 120.0
"""Long enough to simulate 1,250 hosts twice on a machine that also runs other tests."""


@pytest.fixture(scope="module", params=[100, 1250])
def fleet(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[House, int]]:
    """A simulated fleet with every host live, and its number of hosts."""
    hosts: int = request.param
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(hosts), "--gpus", "8", rpc_timeout=60)
        house.host(f"node{hosts}", patience=LARGE_FLEET_SECONDS)
        # A simulation that falls behind skips hosts, so the last host may appear before others.
        eventually(lambda: count_hosts(house) == hosts + 1, "all hosts", LARGE_FLEET_SECONDS)
        yield house, hosts


def count_hosts(house: House) -> int:
    """How many hosts the broker knows, including the expected one that never reports."""
    fleet = house.get("api/v1/fleet")
    return len(fleet["hosts"]) if fleet else 0


@pytest.fixture
def hosts(fleet: tuple[House, int]) -> int:
    return fleet[1]


@pytest.fixture
def visit(fleet: tuple[House, int], page: Page) -> Page:
    page.goto(fleet[0].url)
    expect(page.locator("#map canvas")).to_be_visible()
    expect(page.locator(".closed .cell").first).to_be_visible()
    return page


def filled(page: Page) -> int:
    """How many rows have content."""
    return page.locator("details.host .closed").count()


def listed(page: Page) -> int:
    """How many host names are in the text, for screen readers and the browser's own search."""
    return len(set(re.findall(r"node(?:\d+|-spare)", page.locator("#hosts").inner_text())))


def test_all_hosts_are_listed_and_only_rows_near_the_screen_are_filled(
    visit: Page, hosts: int, complaints: list[str]
) -> None:
    assert listed(visit) == hosts + 1
    assert 8 <= filled(visit) <= NEAR_ROWS
    assert complaints == []


def test_scrolling_to_the_end_fills_the_last_row_and_empties_the_first(
    visit: Page, hosts: int
) -> None:
    last = visit.locator(f"details[data-name='node{hosts}']")
    expect(last).to_have_count(0)

    def reach_end() -> bool:  # rows that are filled on the way may be taller than expected
        visit.keyboard.press("End")
        return last.count() == 1

    eventually(reach_end, "the last row")
    expect(last).to_be_in_viewport()
    expect(last.locator(".closed")).to_be_visible()
    expect(visit.locator("details[data-name='node01']")).to_have_count(0)
    eventually(lambda: filled(visit) <= NEAR_ROWS, "the rows in between to be gone")
    assert listed(visit) == hosts + 1


def test_search_narrows_the_list(visit: Page, hosts: int) -> None:
    visit.locator("#search").fill(f"node{hosts}")
    shown = visit.locator("details.host:not([hidden])")
    expect(shown).to_have_count(1)
    expect(shown.locator(".cell")).to_have_count(8)
    expect(visit.locator("#found")).to_have_text(re.compile(f"^1 of {hosts + 1:,} hosts"))
    visit.keyboard.press("Escape")
    eventually(lambda: listed(visit) == hosts + 1, "all hosts to be back")


def test_a_click_on_the_map_scrolls_to_a_host_far_below(visit: Page, hosts: int) -> None:
    name = f"node{hosts - 10}"
    place = cell(visit, name, 0)
    visit.locator("#map canvas").click(position={"x": place["x"], "y": place["y"]})
    row = visit.locator(f"details[data-name='{name}']")
    expect(row).to_be_in_viewport()
    expect(row.locator("table.gpus tbody tr.first")).to_have_count(8)


def test_a_phone_never_scrolls_sideways(visit: Page) -> None:
    visit.set_viewport_size({"width": 390, "height": 844})
    canvas = visit.locator("#map canvas")
    eventually(lambda: canvas.evaluate("one => one.width === one.clientWidth"), "the map to fit")
    expect(visit.locator(".closed .cell").first).to_be_visible()
    assert visit.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_heap_does_not_grow_over_many_ticks(visit: Page, fleet: tuple[House, int]) -> None:
    before, start = heap_mb(visit), broker_time(fleet[0])
    eventually(lambda: broker_time(fleet[0]) > start + TICKS_SECONDS, "some ticks to pass")
    assert heap_mb(visit) < before + HEAP_MB


def broker_time(house: House) -> float:
    """Read from a short response; that of the whole fleet is megabytes."""
    return float(house.get("api/v1/free?gpus=1&model=none")["now"])


def heap_mb(page: Page) -> float:
    """The heap of the page's scripts after garbage collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6
