"""The finder of free GPUs and its notifications, in Chromium."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.house import House, eventually
from tests.support.visit import all_are, open_page

pytestmark = pytest.mark.browser

GIB = 1024


NOTE_TEXTS = """button => {
  window.noted = [];
  const note = () => window.noted.push(button.textContent);
  new MutationObserver(note).observe(button, { childList: true });
}"""
"""Record a button's texts in window.noted: some are shown for only two seconds."""


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
