"""Every fault is told once, counted once, and found by what counts it."""

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.wire.codec import pack
from tests.support.house import House, eventually
from tests.support.snapshots import make_findings, make_gpus, make_snapshot

pytestmark = pytest.mark.browser

HOSTS = 20
STALE_SECONDS = 60
"""The simulated host falls silent after 20 s; the rest is slack for a busy machine."""
WARNING, INFO = "\u26a0\ufe0e", "\u2139\ufe0e"
SINCE = 1_700_000_000
FINDINGS = make_findings(
    *("gpu_lost", "disk_full", "gpu_hot", "rows_cut"),
    severity=["critical", "warning", "warning", "info"],
    gpu=[1, None, 0, None],
    since=[SINCE, None, SINCE, SINCE],
    words=["fell off the bus", "the disk at / is nearly full", "at its limit", "only 512 shown"],
    advice=["reset the GPU", None, "check its fans", None],
)
FAULTY = {
    "gpus": make_gpus(2, state=["ok", "lost"], temperature_celsius=[88, None]),
    "processes": {},
    "findings": FINDINGS,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A simulated fleet with every fault of the demo; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS), rpc_timeout=6)
        house.host(f"node{HOSTS}")
        yield house


@pytest.fixture
def visit(house: House, page: Page) -> Page:
    """The page of a host with FAULTY."""
    show(house)
    page.goto(house.url)
    return page


def show(house: House, **keys: Any) -> None:
    """Start a broker and a page with these `keys`, and send a snapshot of node1 with FAULTY."""
    house.start("broker", rpc_timeout=30)
    house.start("web", **keys)
    numbers = itertools.count(1)
    with closing(Pusher(f"tcp://127.0.0.1:{house.rpc_port}")) as pusher:

        def is_live() -> bool:
            boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
            now = {"sampled_boottime": boottime, "sampled_at": time.time()}
            pusher.push(pack(make_snapshot("node1", next(numbers), **now, **FAULTY)))
            hosts = (house.get("api/v1/fleet") or {"hosts": {}})["hosts"]
            return [host["state"] for host in hosts.values()] == ["live"]

        eventually(is_live, "the host to be live")


def lines(page: Page) -> list[str]:
    """The list of findings of the open host, as screen readers hear it."""
    listed = page.locator(".findings li")
    expect(listed).to_have_count(4)
    return [" ".join((each.text_content() or "").split()) for each in listed.all()]


def test_a_closed_row_names_only_what_needs_attention(visit: Page) -> None:
    sign = visit.locator("details[data-name='node1'] .sign")
    expect(sign).to_have_attribute(
        "title",
        "GPU 1: fell off the bus: reset the GPU\nthe disk at / is nearly full\n"
        "GPU 0: at its limit: check its fans",
    )
    expect(sign).to_have_class(re.compile("red"))


def test_an_open_row_lists_all_findings_the_worst_first(visit: Page) -> None:
    for told, expected in zip(
        lines(visit),
        [
            "\u2715critical: GPU 1 fell off the bus: reset the GPU for ",
            f"{WARNING}warning: the disk at / is nearly full",
            f"{WARNING}warning: GPU 0 at its limit: check its fans for ",
            f"{INFO}info: only 512 shown for ",
        ],
        strict=True,
    ):
        assert told.startswith(expected)
    since = visit.locator(".findings small").first
    expect(since).to_have_text(re.compile(r"^for \d+d \d+h$"))
    expect(since).to_have_attribute("title", re.compile(r"^since \w+ Nov 1[45] 2023 \d\d:\d\d:20$"))


def test_the_row_of_a_gpu_tells_each_fault_once(visit: Page) -> None:
    table = visit.locator("table.gpus")
    expect(table.locator("td.state", has_text="fell off the bus")).to_have_count(1)
    expect(table.locator("td.state", has_text="at its limit")).to_have_count(1)
    expect(table.get_by_text("only 512 shown")).to_have_count(0)
    attention = visit.locator(".attention button")
    expect(attention).to_have_text(["1 GPU lost", "1 GPU hot", "1 host with problems"])


@pytest.mark.parametrize(
    ("query", "cells"),
    [("finding:gpu_hot", 1), ("finding:critical", 1), ("finding:disk_full", 2), ("fell off", 1)],
)
def test_a_finding_is_found_by_its_kind_its_severity_and_its_words(
    visit: Page, query: str, cells: int
) -> None:
    visit.locator("#search").fill(query)
    expect(visit.locator(".cell:not(.dim)")).to_have_count(cells)
    visit.locator("#search").fill("finding:xid")
    expect(visit.locator("#empty")).to_contain_text("No host matches")


def test_a_role_without_words_is_told_by_kind(house: House, page: Page) -> None:
    show(house, viewer_role="counts")
    page.goto(house.url)
    told = lines(page)
    assert told[0].startswith("\u2715critical: GPU 1 fell off the bus for ")
    assert told[1] == f"{WARNING}warning: a disk is nearly full"
    expect(page.locator(".findings-note")).to_contain_text("Your role")
    assert "reset the GPU" not in page.content()


def test_every_count_finds_exactly_what_it_counts(demo: House, page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 2400})  # room for the row of each host
    demo.host("node07", "stale", STALE_SECONDS)
    page.goto(demo.url)
    attention = page.locator(".attention button")
    expect(attention.filter(has_text="1 host stale")).to_be_visible()
    words = attention.all_inner_texts()
    for kind in ("GPU lost", "GPU unhealthy", "GPU hot", "possibly stuck", "host with problems"):
        assert any(kind in each for each in words), kind
    check_counts(page, ".attention button", " host")
    check_counts(page, "#bar [aria-label='Which GPUs'] button", "Problems")


COUNT = """([selector, at, isHost]) => {
    const label = document.querySelectorAll(selector)[at].textContent;
    const hosts = [...document.querySelectorAll("details.host:not([hidden])")];
    const cells = hosts.flatMap((host) => [...host.querySelectorAll(".cell:not(.dim)")]);
    return Number(/\\d+/.exec(label)[0]) === (isHost ? hosts : cells).length;
}"""


def check_counts(page: Page, selector: str, of_hosts: str) -> None:
    """Each button with a number shows as many GPUs, or hosts where its words have `of_hosts`."""
    buttons = page.locator(selector)
    for at, words in enumerate(buttons.all_inner_texts()):
        if re.search(r"\d", words):
            buttons.nth(at).click()
            asked = [selector, at, of_hosts in words]
            # Jobs come and go; number and rows are of one moment, but not at once of the click.
            eventually(lambda: page.evaluate(COUNT, asked), f"as many as in {words}")  # noqa: B023
