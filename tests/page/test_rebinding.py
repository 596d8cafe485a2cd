"""A foreign site whose name is rebound to this machine can read nothing from it in Chromium."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fake_nvml import FakeNvml, Gpu, Scenario
from tests.support.browser import FLAGS, PATIENCE_MS, chromium
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

EVIL = "evil.example"
READ = """async ([path, headers]) => {
  const answer = await fetch(path, { headers });
  return [answer.status, await answer.text()];
}"""
LISTEN = """(path) => new Promise((done) => {
  const socket = new WebSocket(path, ["gpu-monitor.v1.json"]);
  socket.onmessage = () => done("received");
  socket.onclose = () => done("refused");
})"""
FORGED = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "localhost", "X-Remote-User": "a"}


@pytest.fixture(scope="module")
def lured() -> Iterator[Browser]:
    """A browser that resolves the site's name to this machine.

    Newer Chromiums block requests to loopback; that is switched off, as other browsers lack it.
    """
    resolves = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
    flags = [*FLAGS, resolves, "--disable-features=LocalNetworkAccessChecks"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["none", "proxy"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a page that needs no secret from its own browser."""
    fake = FakeNvml(tmp_path_factory.mktemp("fake") / "gpus.scenario")
    house = House(tmp_path_factory.mktemp("house"), fake.environment())
    with closing(fake), closing(house):
        fake.write(Scenario([Gpu()]))
        proxied = request.param == "proxy"
        proxy: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"]} if proxied else {}
        house.start("up", name="node1", sign_in=request.param, **proxy)
        eventually(lambda: house.text("healthz"), "the page to be served")
        yield house.web_port


@pytest.fixture
def trap(lured: Browser, port: int) -> Iterator[Page]:
    """The site's page, loaded before its name was rebound."""
    page = lured.new_page()
    page.set_default_timeout(PATIENCE_MS)
    site = f"http://{EVIL}:{port}/"
    page.route(site, lambda route: route.fulfill(content_type="text/html", body="<title>!</title>"))
    page.goto(site)
    yield page
    page.close()


@pytest.mark.parametrize("path", ["api/v1/fleet", "api/v1/ticket", "metrics", "readyz"])
def test_a_rebound_page_reads_nothing_whatever_it_sends(trap: Page, path: str) -> None:
    assert trap.evaluate(READ, [path, FORGED])[0] == 421
    assert trap.evaluate(READ, [path, {}])[0] in (401, 421)


def test_a_rebound_page_opens_no_websocket(trap: Page) -> None:
    assert trap.evaluate(LISTEN, "ws") == "refused"


def test_an_unknown_name_shows_how_to_allow_it(trap: Page, port: int) -> None:
    trap.goto(f"http://{EVIL}:{port}/?q=1")
    remedy = re.compile(
        f"'{EVIL}' is not a name of this server\\s.*web_hosts|proxy does not name the user"
    )
    expect(trap.locator("body")).to_have_text(remedy)
