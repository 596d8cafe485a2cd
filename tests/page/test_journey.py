"""What a visitor sees in Chromium when values change and things break."""

import itertools
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from playwright.sync_api import Locator, Page, expect

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.wire.codec import pack
from tests.fake_nvml import FakeNvml, Gpu, Mig, Process, Scenario
from tests.fake_nvml.scenario import N_A
from tests.support.house import House, eventually
from tests.support.snapshots import make_processes, make_snapshot

pytestmark = pytest.mark.browser

SLICES_MS = 40_000
"""A slice needs two measurements, 5 s apart; the rest is slack for a busy machine."""
NEW_PAGE_MARK = "window.sameVisit = true"


@pytest.fixture(params=["modules", "bundle"])
def page_form(request: pytest.FixtureRequest) -> str:
    """Run every test on the page of a checkout and on that of a wheel."""
    form: str = request.param
    return form


@pytest.fixture
def visit(house: House, page: Page) -> Page:
    """The page of a house of three processes, with node1 live."""
    house.start("broker")
    house.start("web")
    house.start("collector", name="node1")
    house.host("node1")
    page.goto(house.url)
    page.evaluate(NEW_PAGE_MARK)
    expect(cells(page).first).to_be_visible()
    return page


def host_row(page: Page, name: str = "node1") -> Locator:
    return page.locator(f"details[data-name='{name}']")


def cells(page: Page, name: str = "node1") -> Locator:
    return host_row(page, name).locator(".cell")


def same_visit(page: Page) -> bool:
    """Whether the page is still the one first loaded."""
    return page.evaluate("window.sameVisit === true") is True


def test_a_gpu_that_is_not_free_says_why(house: House, page: Page, fake_nvml: FakeNvml) -> None:
    unified = Gpu(memory_total_mib=N_A, processes=[Process("self", memory_mib=2048)])
    fake_nvml.write(Scenario(gpus=[Gpu(compute_mode=2), Gpu(utilization_percent=98), unified]))
    house.start("up", name="node1")
    house.host("node1")
    page.goto(house.url + "?open=node1")
    reasons = host_row(page).locator("table.gpus td.state")
    expect(reasons.nth(0)).to_have_text("compute mode prohibited: no process may use it")
    expect(reasons.nth(1)).to_have_text("in use in the last 30 s, compute process not visible")
    expect(cells(page).nth(0)).to_contain_text("not free")
    expect(cells(page).nth(1)).to_contain_text("98%")
    expect(host_row(page).locator("table.gpus")).to_contain_text("processes 2.0")


def test_a_value_that_changes_on_the_gpu_changes_on_the_page(
    visit: Page, fake_nvml: FakeNvml, complaints: list[str]
) -> None:
    expect(cells(visit).nth(0)).to_contain_text("87%")
    expect(cells(visit).nth(1)).to_contain_text("free")
    fake_nvml.write(Scenario(gpus=[Gpu(utilization_percent=42, processes=[Process("self")])]))
    expect(cells(visit).nth(0)).to_contain_text("42%")
    expect(cells(visit).nth(1)).to_contain_text("lost")
    assert complaints == []


def test_a_wheel_serves_a_few_scripts_and_a_checkout_each_module(
    visit: Page, page_form: str
) -> None:
    scripts: int = visit.evaluate(
        "performance.getEntriesByType('resource').filter((one) => /js$/.test(one.name)).length"
    )
    assert scripts <= 4 if page_form == "bundle" else scripts > 20


def test_a_killed_collector_makes_its_host_stale_in_words_and_shape(
    visit: Page, house: House
) -> None:
    house.stop("collector", by=signal.SIGKILL)
    badge = host_row(visit).locator(".badge.stale")
    expect(badge).to_contain_text("stale")
    expect(cells(visit).first).to_have_class(re.compile(r"\bold\b"))
    house.start("collector", name="node1")
    expect(badge).to_have_count(0)
    expect(cells(visit).first).not_to_have_class(re.compile(r"\bold\b"))


def test_the_page_reports_a_silent_broker_and_recovers_without_a_reload(
    visit: Page, house: House
) -> None:
    house.stop("broker", by=signal.SIGKILL)
    pill = visit.locator("#link")
    expect(pill).to_contain_text("Broker silent")
    expect(visit.locator("#banner")).to_contain_text("The broker is silent")
    expect(cells(visit).first).to_have_class(re.compile(r"\bold\b"))
    house.start("broker")
    expect(pill).to_contain_text("Live")
    expect(visit.locator("#banner")).to_be_empty()
    assert same_visit(visit)


def test_each_server_warns_on_the_page_about_its_open_port(house: House, page: Page) -> None:
    house.start("broker", updates_bind="0.0.0.0")
    house.start("web", web_bind="0.0.0.0")
    house.start("collector", name="node1")
    house.host("node1")
    page.goto(house.url)
    notes = page.locator("#banner .note")
    expect(notes).to_have_count(2)
    expect(notes.nth(0)).to_contain_text("anyone who can reach it can read the state of the fleet")
    expect(notes.nth(1)).to_contain_text("can read the page")


def test_the_page_shows_that_it_reconnects_and_recovers_without_a_reload(
    visit: Page, house: House
) -> None:
    house.stop("web", by=signal.SIGKILL)
    pill = visit.locator("#link")
    expect(pill).to_contain_text("Reconnecting")
    expect(visit.locator("#banner")).to_contain_text("Everything below is as of")
    expect(visit.locator("#columns")).to_have_css("filter", "grayscale(1)")
    house.start("web")
    expect(pill).to_contain_text("Live")
    expect(visit.locator("#columns")).to_have_css("filter", "none")
    assert same_visit(visit)


def test_a_frozen_server_does_not_pass_for_a_quiet_fleet(visit: Page, house: House) -> None:
    house.running["web"].send_signal(signal.SIGSTOP)
    pill = visit.locator("#link")
    expect(pill).to_contain_text("Reconnecting")
    house.running["web"].send_signal(signal.SIGCONT)
    expect(pill).to_contain_text("Live")


def test_an_expanded_host_shows_who_runs_what(visit: Page) -> None:
    process = host_row(visit).locator("table.gpus tbody tr").first
    expect(process).to_contain_text("87%")
    expect(process).to_contain_text("python")
    expect(process.locator(".user")).to_have_text(pwd.getpwuid(os.getuid()).pw_name)
    expect(visit.locator("#users tbody tr")).to_have_count(1)


def test_a_mig_slice_shows_how_busy_it_is_where_that_can_be_measured(
    house: House, page: Page, fake_nvml: FakeNvml, complaints: list[str]
) -> None:
    held = [Process("self", memory_mib=4096)]
    shared = [
        Mig("1c.2g.20gb", gpu_instance=3, compute_instance=n, processes=held) for n in range(2)
    ]
    slices = [Mig(utilization_percent=64, processes=held), Mig(processes=held), *shared]
    fake_nvml.write(Scenario(gpus=[Gpu(migs=slices)]))
    house.start("up", name="node1", held_idle_after=1)
    house.host("node1")
    page.goto(house.url)
    expect(cells(page).nth(1)).to_contain_text("64%", timeout=SLICES_MS)
    expect(cells(page).nth(2)).to_have_class(re.compile(r"\bidle\b"), timeout=SLICES_MS)
    lines = host_row(page).locator("table.gpus tr.first")
    measured, unmeasured = lines.nth(1), lines.nth(3).locator("td.n").first
    expect(measured.locator("td.n").first).to_have_text("64%")
    expect(unmeasured).to_have_text("\u2013")
    expect(unmeasured).to_have_attribute("title", "MIG slice utilization needs Hopper or newer")
    expect(cells(page).nth(3).locator("b")).to_have_text("1c.2g.20gb")
    assert complaints == []


def test_search_hides_what_does_not_match_and_escape_brings_it_back(visit: Page) -> None:
    visit.keyboard.press("/")
    visit.keyboard.type("no-such-host")
    expect(host_row(visit)).to_be_hidden()
    visit.keyboard.press("Escape")
    expect(host_row(visit)).to_be_visible()


def test_the_effective_user_is_shown_beside_the_user(house: House, page: Page) -> None:
    house.start("broker", rpc_timeout=30)
    house.start("web")
    processes = make_processes(user=["alice"], uid=[0], effective_user=["root"], state=["stuck"])
    numbers = itertools.count(1)
    with closing(Pusher(f"tcp://127.0.0.1:{house.rpc_port}")) as pusher:

        def is_live() -> bool:
            now = {"sampled_boottime": time.clock_gettime(time.CLOCK_BOOTTIME)}
            sent = make_snapshot("127.0.0.1", next(numbers), processes=processes, **now)
            pusher.push(pack(sent))
            fleet = house.get("api/v1/fleet") or {"hosts": {}}
            return [host["state"] for host in fleet["hosts"].values()] == ["live"]

        eventually(is_live, "the host to be live")
        page.goto(house.url)
        expect(page.locator(".gpus td.user").first).to_have_text("alice, as root, stuck")
        title = "alice, as root, stuck (group physics)"
        expect(page.locator(".gpus td.user").first).to_have_attribute("title", title)
        load = page.locator(".gpus td.command .on-host").first
        expect(load).to_have_text("CPU 612% · 41.0 GiB host memory")
        page.get_by_text("UUIDs, links and energy").first.click()
        more = "PCIe gen 5 x16 · 18 NVLinks up · 2.0 kWh since the driver was loaded"
        expect(page.locator(".identities").first).to_contain_text(more)


def test_a_hostile_command_is_rendered_as_plain_text(
    house: House, page: Page, fake_nvml: FakeNvml, complaints: list[str]
) -> None:
    evil = "<img src=x onerror=document.title='taken'>\u202egnp.exe"
    with subprocess.Popen(
        [evil, "-c", "input()", evil], executable=sys.executable, stdin=subprocess.PIPE
    ) as process:
        fake_nvml.write(Scenario(gpus=[Gpu(processes=[Process(process.pid)])]))
        house.start("up", name="node1", commands="full")
        house.host("node1")
        page.goto(house.url)
        expect(host_row(page).locator(".command").first).to_contain_text("<img src=x onerror=")
        process.communicate(b"\n")
    assert "\u202e" not in page.content()
    assert page.locator("img").count() == 0
    assert "taken" not in page.title()
    assert complaints == []


def test_a_megabyte_of_arguments_breaks_neither_layout_nor_page(
    house: House, page: Page, fake_nvml: FakeNvml, complaints: list[str]
) -> None:
    long = [f"<b>{number}" + "x" * 100_000 for number in range(10)]
    with subprocess.Popen(
        [sys.executable, "-c", "input()", *long], stdin=subprocess.PIPE
    ) as process:
        fake_nvml.write(Scenario(gpus=[Gpu(processes=[Process(process.pid)])]))
        house.start("up", name="node1", commands="full")
        house.host("node1")
        page.goto(house.url)
        command = host_row(page).locator(".command")
        expect(command).to_contain_text("<b>0xxx")
        assert command.evaluate("cell => cell.getBoundingClientRect().height") < 60
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        process.communicate(b"\n")
    assert page.locator("table.gpus b").count() == 0
    assert complaints == []


def test_the_whole_page_works_without_a_mouse(visit: Page, complaints: list[str]) -> None:
    press, focused = visit.keyboard.press, visit.locator(":focus")
    row = host_row(visit)
    press("j")
    expect(row.locator("> summary")).to_be_focused()
    expect(row).to_have_attribute("open", "")  # the hosts of a small fleet start expanded
    press("Enter")
    expect(row).not_to_have_attribute("open", "")
    press("/")
    visit.keyboard.type("state:free")
    press("Tab")  # leave the box, so that letters are shortcuts again
    press("i")
    expect(visit.locator("#search")).to_have_value("state:held_idle")
    press("a")
    expect(visit.locator("#search")).to_have_value("")
    press("m")
    expect(visit.get_by_role("button", name="Memory")).to_have_attribute("aria-pressed", "true")
    press("s")
    expect(visit).to_have_url(re.compile("sort=free"))
    press("f")
    expect(focused).to_have_attribute("name", "gpus")
    press("Enter")
    expect(visit.locator(".answer")).to_contain_text("Free now: 1 GPU")
    press("Escape")
    expect(visit.locator(".answer")).to_have_count(0)
    press("u")
    press("Enter")
    expect(visit.locator("#search")).to_have_value(re.compile("^user:."))
    press("Escape")
    press("t")
    expect(visit.locator("html")).to_have_attribute("data-theme", "light")
    press("?")
    expect(visit.locator("dialog#keys")).to_be_visible()
    press("Escape")
    expect(visit.locator("dialog#keys")).to_be_hidden()
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_never_scrolls_sideways(
    visit: Page, width: int, theme: str, complaints: list[str]
) -> None:
    visit.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    visit.set_viewport_size({"width": width, "height": 844})
    expect(cells(visit).first).to_be_visible()
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


def test_the_demo_is_labelled_as_simulated(house: House, page: Page) -> None:
    house.start("demo", "--hosts", "5")
    eventually(lambda: house.get("readyz") is not None, "the demo to serve")
    page.goto(house.url)
    expect(page.locator("#simulated")).to_be_visible()
    expect(page).to_have_title(re.compile("simulated"))


def test_nothing_is_loaded_from_another_host(visit: Page, house: House) -> None:
    asked: list[str] = []
    visit.on("request", lambda request: asked.append(request.url))
    visit.reload()
    expect(cells(visit).first).to_be_visible()
    assert asked
    assert [url for url in asked if not url.startswith(house.url)] == []
