"""The page of a simulated fleet on a phone and a tablet: everything is within reach of a finger."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.support.house import House

pytestmark = pytest.mark.browser

HOSTS = 60
PHONE: ViewportSize = {"width": 390, "height": 844}
TOO_SMALL = """() => [...document.querySelectorAll("button, select, input, a, summary")]
  .filter((one) => one.checkVisibility())
  .map((one) => [one.textContent || one.id || one.name, one.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 36 || height < 36)
  .map(([name, { width, height }]) => `${name.trim()}: ${width} x ${height}`)"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One simulated fleet for the whole module; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS), rpc_timeout=30)  # tolerates pauses
        house.host(f"node{HOSTS}")
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    page.set_viewport_size(PHONE)
    page.goto(demo.url)
    expect(page.locator(".closed .cell").first).to_be_visible()
    return page


def right_edge(found: Locator) -> float:
    box = found.bounding_box()
    assert box is not None
    return box["x"] + box["width"]


def test_touch_targets_are_at_least_36_px_wide_and_high(visit: Page) -> None:
    assert visit.evaluate(TOO_SMALL) == []
    visit.goto(visit.url + "?need=1x1")
    expect(visit.locator(".offer").first).to_be_visible()
    assert visit.evaluate(TOO_SMALL) == []


def test_users_are_the_first_button_and_one_tap_away(visit: Page) -> None:
    link = visit.locator("#bar button").first
    expect(link).to_have_text("Users")
    expect(link).to_be_in_viewport(ratio=1)
    link.click()
    expect(visit.locator("#users tbody button").first).to_be_in_viewport(ratio=1)


def test_the_bar_fades_at_the_edge_it_scrolls_beyond(visit: Page) -> None:
    bar = visit.locator("#bar")
    assert bar.evaluate("bar => bar.scrollWidth > bar.clientWidth")
    assert "gradient" in bar.evaluate("bar => getComputedStyle(bar).maskImage")
    bar.evaluate("bar => bar.scrollTo(bar.scrollWidth, 0)")
    assert right_edge(bar.locator("button").last) <= right_edge(bar) - 28


def test_the_finder_fits_on_one_line_with_its_button(visit: Page) -> None:
    finder = visit.locator("form.finder")
    assert finder.evaluate("form => form.clientHeight") < 40
    expect(finder.locator("button")).to_be_in_viewport(ratio=1)
    assert right_edge(finder.locator("button")) <= right_edge(finder) - 28


def test_the_layout_menu_is_beside_the_title_of_the_map(visit: Page) -> None:
    name, choice = visit.locator("#map h2"), visit.locator("#map select")
    assert abs(middle(name) - middle(choice)) < 4


def test_the_whole_table_of_an_expanded_host_is_visible(visit: Page) -> None:
    host = visit.locator("details[data-name='node04']")
    visit.locator("#search").fill("host:node04")
    host.locator("> summary").click()
    table = host.locator("table.gpus")
    expect(table.locator("td.command").first).to_be_visible()
    assert host.locator(".scroll").evaluate("all => all.scrollWidth <= all.clientWidth")
    words = table.locator("tbody").inner_text()
    for text in (" / 300 W", "python", "at which it is slowed down (95 °C): check"):
        assert text in words


def test_the_identifiers_of_a_gpu_can_be_read_and_copied(visit: Page) -> None:
    visit.locator("#search").fill("host:node01")
    host = visit.locator("details[data-name='node01']")
    host.locator("> summary").click()
    names = host.locator(".identities")
    names.locator("summary").click()
    first = names.locator("div").first
    expect(first).to_have_text(
        re.compile(r"^0 GPU-[0-9a-f-]{36}Copy [0-9A-F]{8}:[0-9A-F]{2}:00\.0 PCIe gen .*$")
    )
    assert visit.evaluate(TOO_SMALL) == []
    first.locator("button").click()
    expect(first.locator("button")).to_have_text(re.compile("Copied|Press Ctrl"))
    expect(host).to_have_attribute("open", "")


def middle(found: Locator) -> float:
    box = found.bounding_box()
    assert box is not None
    return box["y"] + box["height"] / 2


UNITS = """rows => rows.flatMap((row) => [...row.cells].flatMap((cell) => ["::before", "::after"]
  .map((place) => getComputedStyle(cell, place).content).filter((text) => text !== "none")))"""


def test_a_gpu_without_a_process_shows_only_its_own_units(visit: Page) -> None:
    visit.locator("#search").fill("host:node03")
    host = visit.locator("details[data-name='node03']")
    host.locator("> summary").click()
    rows = host.locator("table.gpus tr.first:has(td.state)")
    expect(rows).to_have_count(2)  # one is free, one is asleep
    assert rows.evaluate_all(UNITS) == ['"mem "'] * 2


@pytest.mark.parametrize("width", [820, 1001, 1240, 1241, 1280, 1380, 1381, 1440])
def test_the_state_of_a_gpu_is_never_cut_off(visit: Page, width: int) -> None:
    visit.set_viewport_size({"width": width, "height": 1180})
    words = visit.locator(".cell > b, .cell.sliced > small")
    assert "3g.40gb" in words.all_text_contents()
    cut = "all => all.filter((b) => b.scrollWidth > b.clientWidth).map((b) => b.innerText)"
    assert words.evaluate_all(cut) == []


@pytest.mark.parametrize("width", [701, 820, 900, 901, 1024, 1240, 1241, 1280, 1366, 1420, 1421])
def test_an_expanded_host_fits_beside_the_users_and_on_a_tablet(visit: Page, width: int) -> None:
    visit.set_viewport_size({"width": width, "height": 900})
    host = visit.locator("details[data-name='node06']")
    host.locator("> summary").click()
    expect(host.locator(".command").first).to_be_visible()
    assert host.locator(".scroll").evaluate("all => all.scrollWidth <= all.clientWidth")
