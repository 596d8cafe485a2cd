"""The printed page: complete, light, and with nothing cut off."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

HOSTS = 220
"""More than are printed. One more host is expected and never reports."""
PRINTED = 200
A4_PX = 1047, 718
"""The printable area of an A4 sheet, in landscape and in portrait."""

LOOK = """addEventListener("beforeprint", () => {
    const rows = [...document.querySelectorAll("details.host:not([hidden], .unprinted)")];
    const map = document.querySelector("#map canvas");
    window.printed = {
        rows: rows.length,
        empty: rows.filter((row) => row.querySelector(".closed .name") === null).length,
        words: document.getElementById("paper").textContent,
        ground: [...map.getContext("2d").getImageData(map.width - 1, map.height - 1, 1, 1).data],
        card: getComputedStyle(document.querySelector(".card")).backgroundColor,
    };
});"""
"""Record what is printed once the page has prepared itself."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS), "--gpus", "8", rpc_timeout=60)
        house.host(f"node{HOSTS}")
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    page.emulate_media(color_scheme="dark")
    page.goto(demo.url)
    expect(page.locator(".closed .cell").first).to_be_visible()
    expect(page.locator("#map canvas")).to_be_visible()
    page.evaluate(LOOK)
    return page


def print_page(page: Page) -> dict[str, Any]:
    """What is printed."""
    page.pdf()
    printed: dict[str, Any] = page.evaluate("printed")
    return printed


def test_far_rows_are_filled_for_printing_and_emptied_again(visit: Page) -> None:
    filled = visit.locator("details.host .closed")
    before = filled.count()
    printed = print_page(visit)
    assert (printed["rows"], printed["empty"]) == (PRINTED, 0)
    assert before < 50
    eventually(lambda: filled.count() <= before, "the far rows to be empty")


def test_a_printout_states_its_time_and_what_it_omits(visit: Page) -> None:
    words = print_page(visit)["words"]
    assert re.match(r"As of \d.*\d:\d\d", words)
    assert f"{HOSTS + 1 - PRINTED} more hosts not printed" in words


def test_a_search_prints_its_matches_and_the_query(visit: Page) -> None:
    visit.locator("#search").fill("node21")
    expect(visit.locator("details.host:not([hidden])")).to_have_count(11)
    printed = print_page(visit)
    assert (printed["rows"], printed["empty"]) == (11, 0)
    assert "node21" in printed["words"] and "not printed" not in printed["words"]


def test_a_dark_page_prints_light(visit: Page) -> None:
    dark = visit.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    printed = print_page(visit)
    assert printed["card"] == "rgb(255, 255, 255)"
    assert printed["ground"] == [255, 255, 255, 255]
    expect(visit.locator(".card").first).to_have_css("background-color", dark)


@pytest.mark.parametrize("width", A4_PX)
def test_nothing_is_cut_off_on_paper(visit: Page, width: int) -> None:
    visit.locator("details.host").nth(1).locator("> summary").click()
    expect(visit.locator("table.gpus tbody tr.first")).to_have_count(8)
    visit.set_viewport_size({"width": width, "height": 700})
    visit.emulate_media(media="print")
    expect(visit.locator("#controls")).to_be_hidden()
    expect(visit.locator(".identities")).to_be_hidden()  # nothing on paper opens
    cut = """(parts) => parts
        .filter((part) => part.scrollWidth > part.clientWidth + 1)
        .map((part) => `${part.tagName} ${part.className}: ${part.scrollWidth} px`)"""
    assert visit.locator("html, .scroll, .tile, #users, .legend").evaluate_all(cut) == []


def test_each_printed_gpu_has_a_border_and_text(visit: Page) -> None:
    visit.emulate_media(media="print")
    bare = """(cells) => cells.filter((cell) => {
        const { borderTopStyle } = getComputedStyle(cell);
        return borderTopStyle === "none" || cell.textContent.trim() === "";
    }).length"""
    assert visit.locator(".closed .cell").evaluate_all(bare) == 0
