"""The page when the server sends it a newer version, or less than everything."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.support.house import House
from tests.support.visit import open_page, query

pytestmark = pytest.mark.browser

DASH = "\u2013"


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
