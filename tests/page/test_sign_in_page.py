"""Signing in with Chromium behind real nginx and Caddy, and keeping other sites out."""

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.fake_nvml import FakeNvml
from tests.house.test_proxies import FORMS
from tests.page.test_accessibility import findings
from tests.support.house import COMMAND, ROOT, House
from tests.support.proxies import proxy
from tests.support.signed_in import add_viewer, expect_live, start_up

pytestmark = pytest.mark.browser

DASH = "\u2013"
ATTACK = """
async (url) => {
  const socket = (protocols) => new Promise((done) => {
    const opened = new WebSocket(url.replace("http", "ws") + "ws", protocols);
    opened.onmessage = () => done("opened");
    opened.onclose = () => done("closed");
  });
  const read = (path, options) => fetch(url + path, options)
    .then((answer) => answer.text())
    .then((text) => (text === "" ? "nothing" : text))
    .catch(() => "nothing");
  const all = { credentials: "include" };
  const opaque = { credentials: "include", mode: "no-cors" };
  const script = (path) => new Promise((done) => {
    const element = document.createElement("script");
    element.onload = () => done("loaded");
    element.onerror = () => done("nothing");
    element.src = url + path;
    document.body.append(element);
  });
  return {
    sockets: [
      await socket([]),
      await socket(["gpu-monitor.v1.json"]),
      await socket(["gpu-monitor.v1.deflate", "gpu-monitor.ticket.forged"]),
    ],
    read: [
      await read("api/v1/fleet"), await read("api/v1/fleet", all),
      await read("api/v1/fleet", opaque),
      await read("api/v1/ticket", all), await read("api/v1/ticket", opaque), await read("", all),
      await script("api/v1/ticket"), await script("api/v1/fleet"),
    ],
  };
}
"""


class Site:
    """A house with tokens and one without sign-in, each behind every form of proxy."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.viewers: list[House] = []
        self.closed: dict[str, str] = {}
        self.open: dict[str, str] = {}

    def url(self, name: str, closed: bool = True) -> str:
        return (self.closed if closed else self.open)[name] + FORMS[name].path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, fake: FakeNvml) -> Iterator[Site]:
    site = Site()
    with ExitStack() as stack:
        houses: dict[tuple[str | None, bool], House] = {}
        for base_path in (None, "/gpus"):
            base: dict[str, Any] = {"base_path": base_path} if base_path else {}
            for closed in (True, False):
                house = House(tmp_path_factory.mktemp("house"), fake.environment())
                stack.callback(house.close)
                token: dict[str, Any] = {"sign_in": "token", "viewers": "viewers"}
                if closed:
                    site.viewers.append(house)
                    for role in ("commands", "counts"):
                        added = add_viewer(house, role, role, **token)
                        site.tokens[f"{base_path} {role}"] = added
                    start_up(house, site.tokens[f"{base_path} commands"], **token, **base)
                else:
                    start_up(house, **base)
                houses[base_path, closed] = house
        for closed, origins in ((True, site.closed), (False, site.open)):
            for name, form in FORMS.items():
                port = houses[form.base_path, closed].web_port
                folder = tmp_path_factory.mktemp(name)
                served = proxy(form.program, form.block, port, folder)
                origins[name] = stack.enter_context(served)
        yield site


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The port on which another site serves an empty page."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>elsewhere</title><body></body>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield str(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def token_for(site: Site, name: str, role: str = "commands") -> str:
    return site.tokens[f"{FORMS[name].base_path} {role}"]


def is_401(line: str) -> bool:
    """Whether this is the browser's own log line for a 401, which the page cannot prevent."""
    return "401" in line


@pytest.mark.parametrize("name", FORMS)
def test_with_a_token_the_page_is_live_behind_every_proxy(
    site: Site, page: Page, complaints: list[str], name: str
) -> None:
    page.goto(site.url(name) + "?metric=mem")
    expect(page.locator("#link")).to_have_count(0)
    page.get_by_label("Your token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Unknown token")
    page.get_by_label("Your token").fill(token_for(site, name))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#link")).to_contain_text("Live")
    assert page.url == site.url(name) + "?metric=mem"
    (cookie,) = map(dict, page.context.cookies())
    assert cookie["path"] == (FORMS[name].path.rstrip("/") or "/")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.goto(site.url(name))
    expect_live(page)
    assert [line for line in complaints if not is_401(line)] == []


@pytest.mark.parametrize("name", FORMS)
def test_a_link_with_a_token_signs_in_and_leaves_no_token_behind(
    site: Site, page: Page, complaints: list[str], name: str
) -> None:
    page.goto(f"{site.url(name)}?token={token_for(site, name)}&q=node1")
    expect_live(page)
    assert page.url == site.url(name) + "?q=node1"
    assert page.evaluate("history.length") <= 2
    assert complaints == []


@pytest.mark.parametrize("name", ["nginx-strips", "caddy-keeps"])
def test_a_link_on_another_site_opens_the_page_if_signed_in(
    site: Site, page: Page, elsewhere: str, name: str
) -> None:
    for link in (f"?token={token_for(site, name)}", "?q=node1"):
        page.goto(f"http://localhost:{elsewhere}/")
        page.evaluate(
            """(url) => {
              const link = Object.assign(document.createElement("a"), { href: url, id: "go" });
              link.textContent = "go";
              document.body.append(link);
            }""",
            site.url(name) + link,
        )
        page.locator("#go").click()
        expect_live(page)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("closed", [True, False], ids=["token", "none"])
@pytest.mark.parametrize("name", FORMS)
def test_another_site_s_page_can_neither_read_nor_subscribe(
    site: Site, page: Page, elsewhere: str, name: str, closed: bool, host: str
) -> None:
    """That holds for another site and for another port of the same site."""
    url = site.url(name, closed)
    page.goto(url + (f"?token={token_for(site, name)}" if closed else ""))
    expect_live(page)
    page.goto(f"http://{host}:{elsewhere}/")
    got = page.evaluate(ATTACK, url)
    assert got == {"sockets": ["closed"] * 3, "read": ["nothing"] * 8}
    page.goto(url)
    expect_live(page)


def test_a_removed_viewer_is_signed_out_on_the_open_page_and_can_sign_in_again(
    site: Site, page: Page
) -> None:
    house = site.viewers[0]
    keys = {"sign_in": "token", "viewers": "viewers"}
    token = add_viewer(house, "guest", "names", **keys)
    page.goto(f"{house.url}?token={token}")
    expect_live(page)
    remove = [*COMMAND, "viewers", "remove", "guest", "--config", str(house.config(**keys))]
    subprocess.run(remove, cwd=ROOT, check=True, capture_output=True)
    expect(page.locator("#link")).to_contain_text("Signed out")
    banner = page.locator("#banner")
    expect(banner).to_contain_text("You are signed out. Sign in Everything below is as of")
    banner.get_by_role("link", name="Sign in").click()
    page.get_by_label("Your token").fill(site.tokens["None commands"])
    page.get_by_role("button", name="Sign in").click()
    expect_live(page)


def test_a_browser_can_be_signed_out(site: Site, page: Page) -> None:
    house = site.viewers[0]
    page.goto(f"{house.url}?token={site.tokens['None commands']}")
    expect_live(page)
    page.goto(f"{house.url}?token=")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_contain_text("signed out in this browser")
    assert page.context.cookies() == []
    page.goto(house.url)
    expect(page.get_by_label("Your token")).to_be_visible()


def test_a_role_without_users_sees_dashes_with_the_reason(site: Site, page: Page) -> None:
    house = site.viewers[0]
    page.goto(f"{house.url}?token={site.tokens['None counts']}")
    expect_live(page)
    expect(page.locator("#users")).to_contain_text("Hidden for your role.")
    row = page.locator("details[data-name='node1'] .gpus tbody tr").first
    expect(row.locator(".user")).to_have_text(DASH)
    expect(row.locator(".command [title*='your role']")).to_have_text(DASH)
    expect(row.locator(".user")).to_have_attribute("title", re.compile("your role"))
    assert "python" not in page.content()
    page.keyboard.press("?")
    words = "Your role: you can see neither users nor commands."
    expect(page.locator("#keys")).to_contain_text(words)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_fits_a_phone_in_both_themes(site: Site, browser: Browser, theme: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 700}, color_scheme=theme)
    page.goto(site.viewers[0].url)
    field = page.get_by_label("Your token")
    expect(field).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert findings(page) == ""
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(245, 247, 250)", "dark": "rgb(14, 17, 22)"}[theme]
    page.close()
