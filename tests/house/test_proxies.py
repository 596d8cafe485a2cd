"""The page in Chromium behind real nginx and Caddy, configured as in docs/security.md."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.house import PATIENCE_SECONDS, House
from tests.support.proxies import NAME, fenced_block, proxy

pytestmark = pytest.mark.browser

NGINX_STRIPS = fenced_block("nginx sub-path")
CADDY_STRIPS = fenced_block("caddyfile strip")
CADDY_KEEPS = fenced_block("caddyfile keep")


class Form(NamedTuple):
    """A proxy, its configuration block, the path of the page, and the base_path it needs."""

    program: str
    block: str
    path: str
    base_path: str | None = None


FORMS = {
    "nginx-at-the-root": Form("nginx", NGINX_STRIPS.replace("/gpus/", "/"), "/"),
    "nginx-strips": Form("nginx", NGINX_STRIPS, "/gpus/"),
    "nginx-strips-a-base-path": Form("nginx", NGINX_STRIPS, "/gpus/", "/gpus"),
    "caddy-at-the-root": Form("caddy", CADDY_KEEPS.replace("/gpus* ", ""), "/"),
    "caddy-strips": Form("caddy", CADDY_STRIPS, "/gpus/"),
    "caddy-strips-a-base-path": Form("caddy", CADDY_STRIPS, "/gpus/", "/gpus"),
    "caddy-keeps": Form("caddy", CADDY_KEEPS, "/gpus/", "/gpus"),
}
BELOW_A_PATH = [name for name, form in FORMS.items() if form.path != "/"]


class Site:
    """The origin of each form of proxy, and the GPU behind them all."""

    def __init__(self, origins: dict[str, str], fake: FakeNvml) -> None:
        self.origins = origins
        self._fake = fake

    def url(self, name: str) -> str:
        """The URL of the page behind that form of proxy."""
        return self.origins[name] + FORMS[name].path

    def work(self, percent: int) -> None:
        """Set the utilization of the host's only GPU."""
        gpu = Gpu(utilization_percent=percent, processes=[Process("self")])
        self._fake.write(Scenario([gpu]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A house with a base_path and one without, behind every form of proxy."""
    with ExitStack() as stack:
        fake = FakeNvml(tmp_path_factory.mktemp("fake") / "gpus.scenario")
        stack.callback(fake.close)
        fake.write(Scenario([Gpu()]))
        houses = {}
        for base_path in (None, "/gpus"):
            house = House(tmp_path_factory.mktemp("house"), fake.environment())
            stack.callback(house.close)
            house.start("up", name="node1", **({"base_path": base_path} if base_path else {}))
            houses[base_path] = house
        for house in houses.values():
            house.host("node1")
        origins = {
            name: stack.enter_context(
                proxy(
                    form.program,
                    form.block,
                    houses[form.base_path].web_port,
                    tmp_path_factory.mktemp(name),
                )
            )
            for name, form in FORMS.items()
        }
        origins["caddy-keeps-unknown-to-us"] = stack.enter_context(
            proxy("caddy", CADDY_KEEPS, houses[None].web_port, tmp_path_factory.mktemp("caddy"))
        )
        yield Site(origins, fake)


def cell(page: Page) -> Locator:
    return page.locator("details[data-name='node1'] .cell").first


def assert_live(page: Page, site: Site) -> None:
    """Assert that the page follows its GPU."""
    expect(page.locator("#link")).to_contain_text("Live")
    for percent in (37, 73):
        site.work(percent)
        expect(cell(page)).to_contain_text(f"{percent}%")


@pytest.mark.parametrize("name", FORMS)
def test_the_page_is_live_and_sends_requests_only_to_its_origin(
    site: Site, page: Page, complaints: list[str], name: str
) -> None:
    asked: list[str] = []
    sockets: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(site.url(name))
    assert_live(page, site)
    assert sockets == [site.url(name).replace("http", "ws", 1) + "ws"]
    assert [url for url in asked if not url.startswith(site.url(name))] == []
    assert complaints == []


@pytest.mark.parametrize("name", BELOW_A_PATH)
def test_the_page_also_opens_without_the_slash(
    site: Site, page: Page, complaints: list[str], name: str
) -> None:
    page.goto(site.url(name).rstrip("/"))
    assert_live(page, site)
    assert page.url == site.url(name)
    assert complaints == []


@pytest.mark.parametrize("name", FORMS)
def test_a_shared_link_shows_the_same_view(
    site: Site, page: Page, complaints: list[str], name: str
) -> None:
    link = f"{site.url(name)}?q=node1&metric=mem&open=node1"
    page.goto(link)
    expect(page.locator("#search")).to_have_value("node1")
    expect(page.locator("details[data-name='node1']")).to_have_attribute("open", "")
    page.reload()
    expect(page.locator("#search")).to_have_value("node1")
    assert page.url == link
    assert complaints == []


@pytest.mark.parametrize("name", ["nginx-strips", "caddy-keeps"])
def test_a_link_without_the_slash_keeps_its_query(site: Site, page: Page, name: str) -> None:
    page.goto(site.url(name).rstrip("/") + "?q=node1")
    expect(page.locator("#search")).to_have_value("node1")
    assert urlsplit(page.url).path == "/gpus/"


@pytest.mark.parametrize("name", FORMS)
def test_scripts_find_the_api_below_the_page(site: Site, name: str) -> None:
    with urllib.request.urlopen(
        site.url(name) + "api/v1/fleet", timeout=PATIENCE_SECONDS
    ) as answer:
        assert "node1" in json.load(answer)["hosts"]


@pytest.mark.parametrize("name", FORMS)
def test_a_name_passed_on_by_the_proxy_needs_no_entry(site: Site, name: str) -> None:
    port = urlsplit(site.origins[name]).port
    request = urllib.request.Request(site.url(name) + "readyz", headers={"Host": f"{NAME}:{port}"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        assert json.load(answer) == {"status": "ready"}


def test_an_unknown_path_kept_by_a_proxy_is_answered_with_the_setting(site: Site) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(
            site.origins["caddy-keeps-unknown-to-us"] + "/gpus/", timeout=PATIENCE_SECONDS
        )
    with refused.value as answer:
        assert answer.code == 404
        assert re.search("keeps its path, set base_path", json.load(answer)["hint"])
