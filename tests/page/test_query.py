"""Search box, users, CSV and shareable links, in Chromium."""

import csv
import io
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.house import House, eventually
from tests.support.visit import all_are, lit, open_page, query, shown

pytestmark = pytest.mark.browser


def test_the_query_box_highlights_matches_and_counts_their_hosts(visit: Page) -> None:
    query(visit).fill("state:held_idle")
    expect(visit.locator("#found")).to_have_text(re.compile(r"^\d+ of 13 hosts$"))
    expect(lit(visit).first).to_have_class(re.compile("idle"))
    eventually(lambda: all_are("idle", lit(visit)), "only idle GPUs to be lit")
    query(visit).fill("-state:held_idle state:free")
    expect(lit(visit).first).to_have_class(re.compile("free"))


def test_hosts_hidden_by_the_query_are_not_drawn(demo: House, page: Page) -> None:
    open_page(page, demo.url + "?q=host:node02")
    expect(shown(page)).to_have_count(1)
    expect(shown(page).locator(".cell")).to_have_count(8)
    expect(page.locator("details.host[hidden] .cell")).to_have_count(0)
    query(page).fill("")
    expect(page.locator("details[data-name='node03'] .cell")).to_have_count(8)


def test_terms_that_are_not_understood_are_listed_below_the_box(visit: Page) -> None:
    query(visit).fill("state:held_idle foo<bar")
    expect(visit.locator("#unknown")).to_have_text("Not understood: foo<bar")
    expect(lit(visit).first).to_have_class(re.compile("idle"))
    query(visit).fill("state:held_idle")
    expect(visit.locator("#unknown")).to_be_hidden()


def test_state_buttons_and_warnings_edit_the_query(visit: Page) -> None:
    held_idle = visit.locator("#bar").get_by_role("button", name="Held idle")
    held_idle.click()
    expect(query(visit)).to_have_value("state:held_idle")
    expect(held_idle).to_have_attribute("aria-pressed", "true")
    visit.locator(".attention button", has_text="missing").click()
    expect(query(visit)).to_have_value("state:missing")
    expect(shown(visit)).to_have_count(1)
    visit.get_by_role("button", name="All", exact=True).click()
    expect(query(visit)).to_have_value("")
    expect(shown(visit)).to_have_count(13)


def test_the_free_tile_filters_and_names_the_best_fit(demo: House, visit: Page) -> None:
    tile = visit.locator(".tile").first
    tile.locator(".big button").click()
    expect(query(visit)).to_have_value("state:free")
    eventually(lambda: all_are("free", lit(visit)), "only free GPUs to be lit")

    def agrees_with_api() -> bool:
        (best, *_) = demo.get("api/v1/free?gpus=1")["hosts"]
        host: str = best["host"]
        return tile.locator(".sub button").inner_text() == host

    eventually(agrees_with_api, "the page and the API to agree")
    best = tile.locator(".sub button").evaluate(
        "button => { button.click(); return button.innerText; }"  # the best host may change soon
    )
    expect(visit.locator(f"details[data-name='{best}'] > summary")).to_be_focused()


def test_the_tooltip_of_a_gpu_is_complete(visit: Page) -> None:
    cell = visit.locator("details[data-name='node02'] .cell").nth(7)
    cell.hover()
    expect(cell).to_have_attribute("title", re.compile(r"^GPU 7 .*fell off the bus", re.DOTALL))
    user = visit.locator("#users tbody tr").first
    user.hover()
    expect(user).to_have_attribute("title", re.compile(r"process(es)? on \d+ hosts?$"))


def test_no_match_names_the_query_and_escape_clears_it(visit: Page) -> None:
    query(visit).fill("nobody-has-this")
    expect(visit.locator("#empty")).to_contain_text("No host matches “nobody-has-this”")
    visit.get_by_role("button", name="Clear (Esc)").click()
    expect(shown(visit)).to_have_count(13)
    query(visit).fill("nobody-has-this")
    visit.keyboard.press("Escape")
    expect(query(visit)).to_have_value("")
    expect(visit.locator("#empty")).to_be_empty()


def test_enter_filters_by_a_user_and_clears_the_filter_again(visit: Page) -> None:
    name = visit.locator("#users tbody button").first.inner_text()
    user = visit.locator("#users tbody").get_by_role("button", name=name, exact=True)
    user.focus()
    visit.keyboard.press("Enter")
    expect(query(visit)).to_have_value(f"user:{name}")
    expect(user).to_have_attribute("aria-pressed", "true")
    expect(lit(visit).first).to_contain_text(re.compile(f"{name}|3g|2g|1g"))
    user.click()
    expect(query(visit)).to_have_value("")


def test_users_sort_by_any_column_and_the_link_keeps_the_order(visit: Page) -> None:
    for column in ("user", "GiB", "util", "held idle", "oldest job"):
        head = visit.locator("#users thead th", has_text=column)
        head.get_by_role("button").click()
        ends = "ascending" if column == "user" else "descending"
        expect(head).to_have_attribute("aria-sort", ends)
    expect(visit).to_have_url(re.compile(r"by=time"))
    visit.reload()
    expect(visit.locator("#users th[aria-sort=descending]")).to_have_text("oldest job")


def test_more_than_twenty_users_are_one_click_away(visit: Page) -> None:
    rows = visit.locator("#users tbody tr")
    expect(rows).to_have_count(20)
    visit.locator("#users .more").click()
    expect(rows.nth(20)).to_be_visible()


def test_the_link_restores_every_choice(demo: House, visit: Page) -> None:
    link = "?q=state:free&metric=mem&sort=free&by=util&need=1x20&model=A100&on=any&open=node01"
    open_page(visit, demo.url + link)
    expect(query(visit)).to_have_value("state:free")
    expect(visit.get_by_role("button", name="Memory", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(visit.locator(".finder input[name=gib]")).to_have_value("20")
    expect(visit.locator(".finder input[name=model]")).to_have_value("A100")
    expect(visit.locator(".answer")).to_contain_text("1 x A100 with 20 GiB free")
    visit.keyboard.press("a")
    expect(visit).to_have_url(demo.url + link.replace("q=state:free&", ""))
    visit.keyboard.press("Escape")
    expect(visit).to_have_url(demo.url + "?metric=mem&sort=free&by=util&open=node01")


def test_back_collapses_the_host_that_was_expanded(visit: Page) -> None:
    host = visit.locator("details[data-name=node02]")
    host.locator("> summary").click()
    expect(host).to_have_attribute("open", "")
    expect(visit).to_have_url(re.compile(r"open=node02"))
    visit.go_back()
    expect(host).not_to_have_attribute("open", "")


def test_the_csv_contains_what_is_shown(demo: House, visit: Page) -> None:
    query(visit).fill("state:held_idle")
    expect(visit.locator("#found")).not_to_be_empty()
    with visit.expect_download() as download:
        visit.get_by_role("button", name="CSV").click()
    assert re.fullmatch(r"gpus-simulated-[\dT-]+Z\.csv", download.value.suggested_filename)
    text = download.value.path().read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows and {row["gpu_use"] for row in rows} == {"held_idle"}
    assert all(row["gpu_uuid"].startswith(("GPU-", "MIG-")) for row in rows)
    assert all(row["gpu_memory_used_mib"].isdigit() for row in rows)
    with visit.expect_download() as again:
        query(visit).blur()
        visit.keyboard.press("d")
    assert again.value.path().read_bytes().startswith(b"host,host_state,gpu_index,gpu_uuid,")


def test_the_help_explains_keys_and_queries(visit: Page) -> None:
    visit.keyboard.press("?")
    dialog = visit.locator("dialog[open]")
    expect(dialog).to_contain_text("find free GPUs")
    expect(dialog).to_contain_text("util<5")
    visit.keyboard.press("Escape")
    expect(visit.locator("dialog[open]")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_has_every_control_without_sideways_scrolling(
    demo: House, browser: Browser, theme: str
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    open_page(page, demo.url + "?need=2x20&q=foo<bar")
    for place in ("#unknown", ".finder button", ".answer", "#users tbody button"):
        expect(page.locator(place).first).to_be_visible()
    page.locator("#help").click()
    expect(page.locator("dialog[open]").get_by_text("util<5")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    below = "document.querySelector('#hosts').getBoundingClientRect().bottom"
    assert page.evaluate(f"document.querySelector('#users').getBoundingClientRect().top >= {below}")
    page.close()
