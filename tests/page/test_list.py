"""The host list when most hosts are off screen: rows are filled and emptied, focus stays."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

HOSTS = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One simulated fleet for the whole module; no test changes it."""
    house = House(tmp_path_factory.mktemp("demo"))
    house.start("demo", "--hosts", str(HOSTS))
    house.host(f"node{HOSTS}")
    yield house
    house.close()


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    page.goto(demo.url)
    expect(row(page, "node01").locator(".cell").first).to_be_visible()
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator(f"details[data-name='{name}']")


def scroll(page: Page, to: str) -> None:
    page.evaluate(f"scrollTo(0, {to})")


def listed_names(page: Page) -> list[str]:
    """The host names in the list's text, for screen readers and the browser's own search."""
    words = set(re.findall(r"node\d+", page.locator("#hosts").inner_text()))
    return [name for number in range(1, HOSTS + 1) if (name := f"node{number:02}") in words]


def test_only_rows_near_the_screen_are_filled_and_all_hosts_are_named(visit: Page) -> None:
    assert visit.locator("details.host").count() < HOSTS / 2
    assert len(listed_names(visit)) == HOSTS
    expect(row(visit, "node110")).to_have_count(0)
    scroll(visit, "document.body.scrollHeight")
    expect(row(visit, "node110").locator(".cell").first).to_be_visible()
    expect(row(visit, "node01")).to_have_count(0)
    assert len(listed_names(visit)) == HOSTS


def test_the_page_keeps_its_height_while_rows_come_and_go(visit: Page) -> None:
    row(visit, "node03").locator("> summary").click()
    expect(row(visit, "node03").locator("table.gpus")).to_be_visible()
    visit.evaluate("document.activeElement.blur()")
    scroll(visit, "0")
    height = "document.querySelector('#hosts').offsetHeight"
    before = visit.evaluate(height)
    scroll(visit, "document.body.scrollHeight")
    expect(row(visit, "node03")).to_have_count(0)
    assert abs(visit.evaluate(height) - before) < 10
    scroll(visit, "0")
    expect(row(visit, "node03")).to_have_attribute("open", "")
    expect(row(visit, "node03").locator("table.gpus")).to_be_visible()


def test_a_row_scrolled_away_keeps_the_focus(visit: Page) -> None:
    row(visit, "node02").locator("> summary").focus()
    scroll(visit, "document.body.scrollHeight")
    expect(row(visit, "node110").locator(".cell").first).to_be_visible()
    visit.keyboard.press("j")
    expect(row(visit, "node03").locator("> summary")).to_be_focused()
    expect(row(visit, "node03")).to_be_in_viewport()


def test_a_far_row_is_emptied_once_it_loses_focus(visit: Page) -> None:
    row(visit, "node02").locator("> summary").focus()
    scroll(visit, "document.body.scrollHeight")
    row(visit, "node110").locator("> summary").focus()
    expect(row(visit, "node110").locator("> summary")).to_be_focused()
    scroll(visit, "document.body.scrollHeight / 2")
    expect(row(visit, "node02")).to_have_count(0)


def test_keys_reach_rows_that_were_off_screen(visit: Page) -> None:
    for _ in range(41):  # the first host has never reported
        visit.keyboard.press("j")
    expect(row(visit, "node40").locator("> summary")).to_be_focused()
    expect(row(visit, "node40").locator(".cell").first).to_be_visible()


def test_a_filter_moves_a_far_host_into_view_and_back(demo: House, page: Page) -> None:
    page.goto(demo.url + "?q=host:node119")
    expect(row(page, "node119").locator(".cell").first).to_be_visible()
    expect(page.locator("details.host:not([hidden])")).to_have_count(1)
    page.locator("#search").fill("")
    eventually(lambda: len(listed_names(page)) == HOSTS, "all hosts to be back")
    page.goto(demo.url + "?open=node119")
    page.locator("#map canvas").wait_for()
    expect(row(page, "node119")).to_have_count(0)
