"""How soon a visitor sees data: by round trips, which depend on no machine's speed."""

import re

import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.house import House
from tests.support.slow_line import slow_line

pytestmark = pytest.mark.browser

ROUND_TRIP_SECONDS = 1.5
MOST_ROUND_TRIPS = 6
"""Connection, page; connection, script and ticket; connection, handshake with the first frame."""


@pytest.fixture(params=["modules", "bundle"])
def page_form(request: pytest.FixtureRequest) -> str:
    form: str = request.param
    return form


@pytest.fixture
def live_house(house: House) -> House:
    house.start("up", name="node1")
    house.host("node1")
    return house


def test_the_ticket_is_requested_once_and_before_the_script_runs(
    live_house: House, page: Page, complaints: list[str]
) -> None:
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    page.goto(live_house.url)
    expect(page.locator("#link")).to_contain_text("Live")
    urls = [request.url for request in requests]
    (ticket,) = (at for at, url in enumerate(urls) if url.endswith("/api/v1/ticket"))
    (script,) = (at for at, url in enumerate(urls) if url.endswith("/app.js"))
    started_by = page.evaluate(
        "performance.getEntriesByType('resource')"
        ".filter(({ name }) => name.endsWith('ticket')).map((entry) => entry.initiatorType)"
    )
    assert ticket < script and started_by == ["link"]
    assert complaints == []


@pytest.mark.parametrize("page_form", ["bundle"], indirect=True)
def test_data_arrive_after_six_round_trips(live_house: House, page: Page) -> None:
    with slow_line(live_house.web_port, ROUND_TRIP_SECONDS) as port:
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        expect(page.locator("#summary .big").first).to_have_text(re.compile(r"\d"))
        seconds = page.evaluate("performance.now() / 1000")
        page.goto("about:blank")
    assert MOST_ROUND_TRIPS - 1 < seconds / ROUND_TRIP_SECONDS < MOST_ROUND_TRIPS + 1
