"""The page behind nginx and Caddy on the server, read by Chromium on the operator's machine."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.lab.bed import CONTROL, call
from tests.lab.fleet import BASE_PATH, Fleet
from tests.support.browser import FLAGS, PATIENCE_MS, chromium
from tests.support.proxies import fenced_block, proxy

NGINX_STRIPS = fenced_block("nginx sub-path")
CADDY_STRIPS = fenced_block("caddyfile strip")
CADDY_KEEPS = fenced_block("caddyfile keep")
HANDSHAKE = """
import http.client, sys, urllib.parse
url, origin = sys.argv[1:]
parts = urllib.parse.urlsplit(url)
connection = http.client.HTTPConnection(parts.netloc, timeout=30)
headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
headers["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OWFiY2RlZg=="
connection.request("GET", parts.path, headers=headers | ({"Origin": origin} if origin else {}))
print(connection.getresponse().status)
"""
FORMS = {
    "nginx at the root": ("nginx", NGINX_STRIPS.replace("/gpus/", "/"), "/"),
    "nginx takes the path away": ("nginx", NGINX_STRIPS, f"{BASE_PATH}/"),
    "caddy takes the path away": ("caddy", CADDY_STRIPS, f"{BASE_PATH}/"),
    "caddy keeps the path": ("caddy", CADDY_KEEPS, f"{BASE_PATH}/"),
}


@pytest.fixture(scope="module")
def origins(fleet: Fleet) -> Iterator[dict[str, str]]:
    """The address of each kind of proxy on the server."""
    server = fleet.machine("server")
    with ExitStack() as stack:
        found = {}
        for number, (name, (program, block, _)) in enumerate(FORMS.items()):
            folder = fleet.bed.folder / f"proxy-{number}"
            folder.mkdir()
            at = fleet.bed.at("server")
            found[name] = stack.enter_context(
                proxy(program, block, 8042, folder, server.address, at)
            )
        yield found


@pytest.fixture(scope="module")
def browser(fleet: Fleet) -> Iterator[Browser]:
    """Chromium on the operator's machine, which can reach only the lab."""
    wrapper = fleet.bed.folder / "chromium"
    words = " ".join([*fleet.bed.at(CONTROL), chromium()])
    wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    wrapper.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(wrapper), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield page
    page.close()


@pytest.mark.parametrize("name", FORMS)
def test_the_page_of_a_deployed_fleet_is_live(
    fleet: Fleet, origins: dict[str, str], visit: Page, complaints: list[str], name: str
) -> None:
    sockets: list[str] = []
    visit.on("websocket", lambda socket: sockets.append(socket.url))
    url = origins[name] + FORMS[name][2]
    visit.goto(url)
    expect(visit.locator("#link")).to_contain_text("Live")
    for machine in ("gpu1", "gpu2"):
        row = visit.locator(f"details[data-name='{fleet.shown_as(machine)}']")
        expect(row.locator(".cell").first).to_be_visible()
    assert sockets == [url.replace("http", "ws", 1) + "ws"]
    assert complaints == []


def test_the_page_also_opens_without_the_trailing_slash(
    origins: dict[str, str], visit: Page
) -> None:
    for name, (_, _, path) in FORMS.items():
        if path != "/":
            visit.goto(origins[name] + path.rstrip("/"))
            expect(visit.locator("#link")).to_contain_text("Live")
            assert visit.url == origins[name] + path


def test_the_page_reports_a_silent_broker_and_recovers_by_itself(
    fleet: Fleet, origins: dict[str, str], visit: Page
) -> None:
    visit.goto(origins["nginx takes the path away"] + f"{BASE_PATH}/")
    expect(visit.locator("#link")).to_contain_text("Live")
    server = fleet.machine("server")
    server.call("systemctl", "stop", "gpu-monitor-broker")
    expect(visit.locator("#link")).to_contain_text("Broker silent")
    server.call("systemctl", "start", "gpu-monitor-broker")
    expect(visit.locator("#link")).to_contain_text("Live")
    fleet.wait_for("live", "gpu1", "gpu2")


@pytest.mark.parametrize("name", FORMS)
def test_a_page_of_another_site_cannot_open_the_websocket(
    fleet: Fleet, origins: dict[str, str], name: str
) -> None:
    url = origins[name] + FORMS[name][2] + "ws"
    command = [*fleet.bed.at(CONTROL), sys.executable, "-c", HANDSHAKE, url]
    assert call(*command, "https://other.example") == "403\n"
    assert call(*command, "") == "101\n"  # not a browser, so it carries no credentials
