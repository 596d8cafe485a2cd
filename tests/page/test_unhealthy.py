"""Unhealthy GPUs and GPUs busy at low power are marked, explained and found on the page."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.page.test_map import TOKEN, cell, hover
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

WAITING = "a faulty memory row is waiting to be remapped"
REMAP_PENDING = f"{WAITING}: reset the GPU"
STALLED = "busy at low power for more than ten minutes: its program may be stuck"
MARK = "\u26a0\ufe0e"
UNHEALTHY = Gpu(name="NVIDIA H100", remapped_pending=1)
BUSY = Gpu(name="NVIDIA H100", utilization_percent=4, processes=[Process("self", 8192)])
"""With more utilization it would not be free for half a minute afterwards."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A simulated fleet with an unhealthy GPU and a lost one; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", "12", rpc_timeout=30)  # tolerates pauses
        house.host("node12")
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    page.goto(demo.url)
    expect(page.locator("#map canvas")).to_be_visible()
    expect(page.locator("details[data-name='node06'] .cell")).to_have_count(8)
    return page


def test_an_unhealthy_gpu_has_a_mark_beside_its_use(visit: Page) -> None:
    expect(visit.locator("#hosts .mark:not(.amber)")).to_have_count(1)
    row = visit.locator("details[data-name='node06']")
    unhealthy = row.locator(".cell").first
    expect(unhealthy.locator(".mark")).to_have_text(MARK)
    expect(unhealthy).to_have_class(re.compile("step|idle|free"))
    unhealthy.hover()
    expect(unhealthy).to_have_attribute(
        "title", re.compile(f"^GPU 0 .*{MARK} {REMAP_PENDING}$", re.DOTALL)
    )
    expect(row.locator(".spoken")).to_have_text(re.compile(", 1 unhealthy, "))
    lost = visit.locator("details[data-name='node02'] .cell.lost")
    expect(lost).to_be_visible()
    expect(lost.locator(".mark")).to_have_count(0)


def test_the_row_of_an_unhealthy_gpu_states_the_reason(visit: Page) -> None:
    visit.locator("details[data-name='node06'] > summary").click()
    table = visit.locator("details[data-name='node06'] table.gpus")
    line = table.locator("td.state", has_text=WAITING)
    expect(line).to_have_text(re.compile(f"^{MARK}warning:  ?{REMAP_PENDING} for 2d 2h$"))
    expect(line.locator("small")).to_have_attribute(
        "title", re.compile(r"^since .* \d\d:\d\d:\d\d$")
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_marks_an_unhealthy_gpu_and_states_the_reason(visit: Page, theme: str) -> None:
    visit.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    red = visit.evaluate(TOKEN, "red")
    eventually(lambda: red in cell(visit, "node06", 0)["colours"], "the mark in this theme")
    assert red not in cell(visit, "node06", 1)["colours"]
    assert hover(visit, "node06", 0).endswith(REMAP_PENDING)
    picture = visit.get_by_role("img", name=re.compile("Fleet map"))
    expect(picture).to_have_attribute("aria-label", re.compile(", 1 lost, 1 unhealthy, "))
    expect(visit.locator("#map .legend")).to_contain_text("unhealthy")


def test_a_gpu_busy_at_low_power_is_marked_found_and_explained(visit: Page) -> None:
    visit.locator(".attention button", has_text="possibly stuck").click()
    expect(visit.locator("#search")).to_have_value("state:stalled")
    row = visit.locator("details.host:not([hidden])")
    expect(row).to_have_attribute("data-name", "node06")
    shown = row.locator(".cell:not(.dim)").first
    expect(shown.locator("b")).to_have_text("100%")
    expect(shown.locator(".mark.amber")).to_have_text("?")
    shown.hover()
    expect(shown).to_have_attribute("title", re.compile(f"{MARK} {STALLED}"))
    row.locator("> summary").click()
    expect(row.locator("td.state", has_text=STALLED).first).to_contain_text(
        re.compile("for 3\\dm$")
    )


def test_one_click_finds_unhealthy_gpus_and_the_csv_has_the_reasons(visit: Page) -> None:
    visit.locator(".attention button", has_text="1 GPU unhealthy").click()
    expect(visit.locator("#search")).to_have_value("state:unhealthy")
    expect(visit.locator("details.host:not([hidden])")).to_have_count(1)
    expect(visit.locator("details.host:not([hidden]) .cell:not(.dim)")).to_have_count(1)
    with visit.expect_download() as download:
        visit.get_by_role("button", name="CSV").click()
    text = download.value.path().read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {(row["host"], row["gpu_index"]) for row in rows} == {("node06", "0")}
    assert rows[0]["gpu_health_reasons"] == WAITING
    assert rows[0]["gpu_findings"] == f"warning: {REMAP_PENDING}"
    assert rows[0]["host_findings"] == "warning: the disk at /scratch is nearly full"


@pytest.mark.parametrize(("name", "words"), [("node02", "fell off the bus"), ("node06", WAITING)])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_reason_fits_a_phone_and_a_desktop(
    visit: Page, width: int, name: str, words: str
) -> None:
    visit.set_viewport_size({"width": width, "height": 844})
    host = visit.locator(f"details[data-name='{name}']")
    host.locator("> summary").click()
    expect(host.locator("td.state", has_text=words)).to_be_visible()
    assert host.locator(".scroll").evaluate("all => all.scrollWidth <= all.clientWidth")
    assert visit.evaluate("document.documentElement.scrollWidth") <= width


def test_the_mark_is_visible_with_forced_colours(visit: Page) -> None:
    visit.emulate_media(forced_colors="active")
    mark = visit.locator("details[data-name='node06'] .mark:not(.amber)")
    expect(mark).to_be_visible()
    assert mark.evaluate(
        """one => { const { color, borderTopColor, backgroundColor } = getComputedStyle(one);
        return color === borderTopColor && color !== backgroundColor; }"""
    )


def test_an_unhealthy_gpu_is_marked_in_the_finder_and_avoided(
    house: House, page: Page, fake_nvml: FakeNvml
) -> None:
    fake_nvml.write(Scenario(gpus=[UNHEALTHY, BUSY]))
    house.start("up", name="node1", rpc_timeout=30)
    eventually(lambda: house.host("node1")["gpus"]["use"] == ["free", "busy"], "a free GPU")
    page.goto(house.url + "?need=1x0")
    expect(page.locator(".cell").first.locator(".mark")).to_be_visible()
    words = f"GPU 0 ({MARK} unhealthy) · uses the last free GPUs on this host"
    expect(page.locator(".offer small")).to_have_text(words)
    (offer,) = house.get("api/v1/free")["hosts"]
    assert offer["gpus"][0]["unhealthy"] is True
    fake_nvml.write(Scenario(gpus=[UNHEALTHY, Gpu(name="NVIDIA H100")]))
    expect(page.locator(".offer small")).to_have_text("GPU 1 · leaves 1 free")
