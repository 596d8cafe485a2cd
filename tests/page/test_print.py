"""The page on paper: all of it that one can read there, light, and nothing cut off."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

HOSTS = 220
"""More than go on paper. One more is expected and never heard."""
PRINTED = 200
A4_PX = 1047, 718
"""What an A4 sheet has between its margins, across and upright."""

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
"""Notes what is printed, once the page has made itself ready."""


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


def put_on_paper(page: Page) -> dict[str, Any]:
    """What is printed."""
    page.pdf()
    printed: dict[str, Any] = page.evaluate("printed")
    return printed


def test_rows_far_from_the_screen_are_filled_for_paper_and_emptied_again(visit: Page) -> None:
    filled = visit.locator("details.host .closed")
    before = filled.count()
    printed = put_on_paper(visit)
    assert (printed["rows"], printed["empty"]) == (PRINTED, 0)
    assert before < 50
    eventually(lambda: filled.count() <= before, "the far rows to be empty")


def test_paper_says_of_when_it_is_and_what_is_left_out(visit: Page) -> None:
    words = put_on_paper(visit)["words"]
    assert re.match(r"As of \d.*\d:\d\d", words)
    assert f"{HOSTS + 1 - PRINTED} more hosts not printed" in words


def test_a_search_prints_what_it_finds_and_says_so(visit: Page) -> None:
    visit.locator("#search").fill("node21")
    expect(visit.locator("details.host:not([hidden])")).to_have_count(11)
    printed = put_on_paper(visit)
    assert (printed["rows"], printed["empty"]) == (11, 0)
    assert "node21" in printed["words"] and "not printed" not in printed["words"]


def test_paper_is_light_where_the_screen_is_dark(visit: Page) -> None:
    dark = visit.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    printed = put_on_paper(visit)
    assert printed["card"] == "rgb(255, 255, 255)"
    assert printed["ground"] == [255, 255, 255, 255]
    expect(visit.locator(".card").first).to_have_css("background-color", dark)


@pytest.mark.parametrize("width", A4_PX)
def test_nothing_is_cut_off_on_a_sheet(visit: Page, width: int) -> None:
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


def test_each_gpu_on_paper_has_a_border_and_a_word(visit: Page) -> None:
    visit.emulate_media(media="print")
    bare = """(cells) => cells.filter((cell) => {
        const { borderTopStyle } = getComputedStyle(cell);
        return borderTopStyle === "none" || cell.textContent.trim() === "";
    }).length"""
    assert visit.locator(".closed .cell").evaluate_all(bare) == 0
