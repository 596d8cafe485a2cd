"""The page as a visitor sees it: hosts shown, GPUs lit, the search box."""

import re

from playwright.sync_api import Locator, Page, expect


def open_page(page: Page, url: str) -> Page:
    """Open the page, and wait until its tiles show numbers."""
    page.goto(url)
    expect(page.locator("#summary .big").first).to_have_text(re.compile(r"\d"))
    return page


def shown(page: Page) -> Locator:
    return page.locator("details.host:not([hidden])")


def lit(page: Page) -> Locator:
    """The GPUs that the search does not dim."""
    return shown(page).locator(".cell:not(.dim)")


def all_are(kind: str, found: Locator) -> bool:
    kinds: list[str] = found.evaluate_all("cells => cells.map((cell) => cell.className)")
    return bool(kinds) and all(kind in names.split() for names in kinds)


def query(page: Page) -> Locator:
    return page.locator("#search")
