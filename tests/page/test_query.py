"""Query box, finder, users, CSV and shareable links, in Chromium."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

HOSTS = 12
GIB = 1024
DASH = "\u2013"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One simulated fleet for the whole module; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS), rpc_timeout=30)  # tolerates pauses
        eventually(lambda: house.get("readyz") is not None, "the demo to serve")
        eventually(
            lambda: (house.get("api/v1/fleet") or {}).get("totals", {}).get("gpus", 0) > 50, "GPUs"
        )
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    return open_page(page, demo.url)


def open_page(page: Page, url: str) -> Page:
    page.goto(url)
    expect(page.locator("#summary .big").first).to_have_text(re.compile(r"\d"))
    return page


def shown(page: Page) -> Locator:
    return page.locator("details.host:not([hidden])")


def lit(page: Page) -> Locator:
    return shown(page).locator(".cell:not(.dim)")


def all_are(kind: str, found: Locator) -> bool:
    kinds: list[str] = found.evaluate_all("cells => cells.map((cell) => cell.className)")
    return bool(kinds) and all(kind in names.split() for names in kinds)


def query(page: Page) -> Locator:
    return page.locator("#search")


NOTE_TEXTS = """button => {
  window.noted = [];
  const note = () => window.noted.push(button.textContent);
  new MutationObserver(note).observe(button, { childList: true });
}"""
"""Record a button's texts in window.noted: some are shown for only two seconds."""


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


def test_the_finder_agrees_with_the_api(demo: House, visit: Page) -> None:
    visit.keyboard.press("f")
    expect(visit.locator(".finder input[name=gpus]")).to_be_focused()
    visit.keyboard.type("2")
    visit.keyboard.press("Tab")
    visit.keyboard.type("20")
    visit.keyboard.press("Enter")
    expect(visit).to_have_url(re.compile(r"need=2x20$"))
    answer = visit.locator(".answer")
    expect(answer).to_contain_text("2 GPUs with 20 GiB free on one host, best fit first")

    def agrees_with_api() -> bool:
        (best, *_) = demo.get("api/v1/free?gpus=2&memory_gib=20")["hosts"]
        lines = answer.locator(".offer").first.locator("code").all_inner_texts()
        devices = ",".join(gpu["uuid"] for gpu in best["gpus"])
        return lines == [f"ssh {best['host']}", f"export CUDA_VISIBLE_DEVICES={devices}"]

    eventually(agrees_with_api, "the page and the API to agree")

    def best_is_lit() -> bool:
        best = answer.locator(".offer button.link").first.inner_text()
        host = visit.locator(f"details[data-name='{best}']")
        host.scroll_into_view_if_needed()
        its = host.locator(".cell:not(.dim)")
        return its.count() == 2 and all_are("free", its) and host.locator(".cell.dim").count() > 0

    eventually(best_is_lit, "two free GPUs to be lit on the best host")


def test_a_line_is_copied_or_selected(visit: Page) -> None:
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(visit, visit.url + "?need=1x0")
    line = visit.locator(".offer code").first
    button = visit.locator(".offer div button").first
    button.evaluate(NOTE_TEXTS)
    button.click()
    eventually(lambda: "Copied" in visit.evaluate("window.noted"), "the copy")
    assert visit.evaluate("navigator.clipboard.readText()") == line.inner_text()
    visit.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    expect(button).to_have_text("Copy")
    button.click()
    eventually(lambda: "Press Ctrl+C" in visit.evaluate("window.noted"), "the selection")
    assert visit.evaluate("String(getSelection())").strip() == line.inner_text()


HIDE = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
SHOW = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
FREE = Scenario(gpus=[Gpu(name="NVIDIA H100", memory_used_mib=100)])
BUSY = Scenario(
    gpus=[
        Gpu(
            name="NVIDIA H100",
            utilization_percent=4,  # with more it would not be free for half a minute afterwards
            processes=[Process("self", memory_mib=8 * GIB)],
        )
    ]
)


@pytest.fixture
def busy_house(house: House, fake_nvml: FakeNvml) -> House:
    """A house with one GPU, in use."""
    fake_nvml.write(BUSY)
    house.start("up", name="node1")
    house.host("node1")
    return house


def test_without_notifications_title_and_banner_announce_a_free_gpu(
    busy_house: House, page: Page, fake_nvml: FakeNvml
) -> None:
    page.add_init_script("delete window.Notification")
    open_page(page, busy_house.url + "?need=1x1&model=H100")
    page.get_by_role("button", name="Tell me when free").click()
    expect(page.locator("#answer")).to_contain_text("the tab title will change instead")
    fake_nvml.write(FREE)
    expect(page).to_have_title("✓ free · GPUs")
    expect(page.locator(".banner.good")).to_contain_text("Free now: 1 x H100")
    expect(page.locator("#answer")).not_to_contain_text("Waiting")
    page.get_by_role("button", name="Dismiss").click()
    expect(page).to_have_title("GPUs")


def test_a_hidden_page_notifies_once(busy_house: House, page: Page, fake_nvml: FakeNvml) -> None:
    page.add_init_script(
        "window.notified = []; window.Notification = class { static permission = 'default';"
        "static async requestPermission() { this.permission = 'granted'; }"
        "constructor(title, { body }) { window.notified.push(`${title} on ${body}`); } }"
    )
    open_page(page, busy_house.url + "?need=1")
    page.get_by_role("button", name="Tell me when free").click()
    expect(page.locator("#answer")).to_contain_text("A notification will appear")
    page.evaluate(HIDE)
    fake_nvml.write(FREE)
    eventually(lambda: page.evaluate("window.notified.length > 0"), "the notification")
    fake_nvml.write(BUSY)
    eventually(lambda: busy_house.host("node1")["gpus"]["use"] == ["busy"], "the GPU to be busy")
    fake_nvml.write(FREE)
    eventually(lambda: busy_house.host("node1")["gpus"]["use"] == ["free"], "the GPU to be free")
    page.evaluate(SHOW)
    expect(page.locator(".cell").first).to_contain_text("free")
    assert page.evaluate("window.notified") == ["Free now: 1 GPU on node1"]
    expect(page).to_have_title("GPUs")


def test_a_hidden_page_draws_nothing_and_is_current_when_shown(
    busy_house: House, page: Page, fake_nvml: FakeNvml
) -> None:
    frames: list[object] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda f: frames.append(f)))
    open_page(page, busy_house.url)
    cell = page.locator(".cell").first
    expect(cell).to_contain_text("4%")
    page.evaluate(HIDE)
    fake_nvml.write(FREE)
    eventually(lambda: busy_house.host("node1")["gpus"]["use"] == ["free"], "the GPU to be free")
    received = len(frames)
    eventually(lambda: page.title() and len(frames) > received + 1, "later frames")
    assert "4%" in cell.inner_text()
    page.evaluate(SHOW)
    expect(cell).to_contain_text("free")


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


def change(page: Page, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit every message on its way to the page."""

    def connect(route: WebSocketRoute) -> None:
        def forward(message: str | bytes) -> None:
            body = json.loads(message)
            edit(body)
            route.send(json.dumps(body))

        route.connect_to_server().on_message(forward)

    page.add_init_script("delete window.DecompressionStream")  # so that frames are text
    page.route_web_socket(re.compile("/ws$"), connect)


def renew(body: dict[str, Any]) -> None:
    """Change the server's files after the page was loaded."""
    if body["type"] == "patch":
        body["patch"]["web"] = {"assets": "another"}


def test_a_newer_version_of_the_page_is_offered_not_forced(demo: House, page: Page) -> None:
    change(page, renew)
    open_page(page, demo.url)
    expect(page.locator("#banner")).to_contain_text("newer version of this page")
    page.evaluate("window.before = true")
    with page.expect_navigation():
        page.get_by_role("button", name="Reload").click()
    expect(page.locator("#banner")).to_contain_text("newer version of this page")
    assert page.evaluate("window.before") is None


def test_a_newer_version_is_offered_even_before_the_first_paint(demo: House, page: Page) -> None:
    page.add_init_script(
        "const paint = window.requestAnimationFrame;"
        "window.requestAnimationFrame = (run) => setTimeout(() => paint(run), 2500);"
    )
    change(page, renew)
    open_page(page, demo.url)
    expect(page.locator("#banner")).to_contain_text("newer version of this page")


def test_a_redacted_value_is_a_dash_with_the_reason(
    demo: House, page: Page, complaints: list[str]
) -> None:
    def hide(body: dict[str, Any]) -> None:
        document: dict[str, Any] = body["fleet" if body["type"] == "fleet" else "patch"]
        document.pop("users", None)
        if body["type"] == "fleet":
            document["users"] = {}
            document["web"]["role"] = "counts"
        for host in document.get("hosts", {}).values():
            for column in ("user", "uid", "command"):
                ((host or {}).get("processes") or {}).pop(column, None)

    change(page, hide)
    open_page(page, demo.url + "?open=node01")
    process = page.locator("details[data-name='node01'] tbody tr").first
    expect(process.locator(".user")).to_have_text(DASH)
    expect(process.locator(".user")).to_have_attribute("title", re.compile("your role"))
    expect(process.locator(".command [title*='your role']")).to_have_text(DASH)
    expect(page.locator("details[data-name='node01'] .cell").nth(1)).to_contain_text(DASH)
    expect(page.locator("#users")).to_contain_text("Hidden for your role")
    query(page).fill("user:alice")
    expect(page.locator("#empty")).to_contain_text("No host matches")
    assert complaints == []
