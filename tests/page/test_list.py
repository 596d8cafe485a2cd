"""The list of a fleet of which most is off the screen: rows come and go, what one is at stays."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

HOSTS = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A simulated fleet for all of this module: nothing here changes it."""
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


def names_in_the_text(page: Page) -> list[str]:
    """Hosts whose names a search in the page, or one who hears it, finds in the list."""
    words = set(re.findall(r"node\d+", page.locator("#hosts").inner_text()))
    return [name for number in range(1, HOSTS + 1) if (name := f"node{number:02}") in words]


def test_rows_are_there_near_the_screen_only_and_names_of_all(visit: Page) -> None:
    assert visit.locator("details.host").count() < HOSTS / 2
    assert len(names_in_the_text(visit)) == HOSTS
    expect(row(visit, "node110")).to_have_count(0)
    scroll(visit, "document.body.scrollHeight")
    expect(row(visit, "node110").locator(".cell").first).to_be_visible()
    expect(row(visit, "node01")).to_have_count(0)
    assert len(names_in_the_text(visit)) == HOSTS


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


def test_the_focus_stays_in_a_row_that_is_scrolled_away(visit: Page) -> None:
    row(visit, "node02").locator("> summary").focus()
    scroll(visit, "document.body.scrollHeight")
    expect(row(visit, "node110").locator(".cell").first).to_be_visible()
    visit.keyboard.press("j")
    expect(row(visit, "node03").locator("> summary")).to_be_focused()
    expect(row(visit, "node03")).to_be_in_viewport()


def test_a_row_that_the_focus_has_left_far_away_goes(visit: Page) -> None:
    row(visit, "node02").locator("> summary").focus()
    scroll(visit, "document.body.scrollHeight")
    row(visit, "node110").locator("> summary").focus()
    expect(row(visit, "node110").locator("> summary")).to_be_focused()
    scroll(visit, "document.body.scrollHeight / 2")
    expect(row(visit, "node02")).to_have_count(0)


def test_keys_walk_through_rows_that_were_far(visit: Page) -> None:
    for _ in range(41):  # the first is one that was never heard
        visit.keyboard.press("j")
    expect(row(visit, "node40").locator("> summary")).to_be_focused()
    expect(row(visit, "node40").locator(".cell").first).to_be_visible()


def test_a_filter_brings_a_far_host_here_and_takes_it_back(demo: House, page: Page) -> None:
    page.goto(demo.url + "?q=host:node119")
    expect(row(page, "node119").locator(".cell").first).to_be_visible()
    expect(page.locator("details.host:not([hidden])")).to_have_count(1)
    page.locator("#search").fill("")
    eventually(lambda: len(names_in_the_text(page)) == HOSTS, "all hosts to be back")
    page.goto(demo.url + "?open=node119")
    page.locator("#map canvas").wait_for()
    expect(row(page, "node119")).to_have_count(0)
