"""The fleet map and the bars of the last hour, on the page of a simulated fleet."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.fake_nvml import FakeNvml, Gpu, Process, Scenario
from tests.support.house import ROOT, House, eventually

pytestmark = pytest.mark.browser

HOSTS = 12
STALE_MS = 40_000
"""The simulated host falls silent after 20 s; the rest is slack for a busy machine."""

LAYOUT = ROOT / "frontend" / "app" / "map" / "layout.js"
"""It has no imports, so it runs inside the page, bundled or not."""
CELL = """([name, slot, cards]) => {
    LAYOUT
    const canvas = document.querySelector("#map canvas");
    // Rows or, far from the screen, only the names of hosts.
    const parts = [...document.querySelectorAll("details.host, .stretch > .spoken")];
    const names = parts.flatMap((one) => one.dataset.name ?? one.textContent.split("\\n"));
    const map = new URLSearchParams(location.search).get("map") ?? "auto";
    const layout = layoutOf(names.length, cards, canvas.clientWidth, map);
    const [x, y] = cornerOf(layout, names.indexOf(name), slot);
    const size = layout.pitch - 1;
    const pixels = canvas.getContext("2d").getImageData(x, y, size, size).data;
    const colours = new Set();
    for (let at = 0; at < pixels.length; at += 4) {
        colours.add(`rgb(${pixels[at]}, ${pixels[at + 1]}, ${pixels[at + 2]})`);
    }
    return { x: x + size / 2, y: y + size / 2, colours: [...colours] };
}""".replace("LAYOUT", LAYOUT.read_text().replace("export ", ""))
TOKEN = """(name) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.setProperty("color", `var(--${name})`);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
}"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A simulated fleet large enough for a map; no test changes it."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", str(HOSTS))
        house.host("node12")
        yield house


@pytest.fixture
def fleet(demo: House, page: Page) -> Page:
    """The fleet's page once its map is drawn."""
    page.goto(demo.url)
    expect(page.locator("#map canvas")).to_be_visible()
    return page


def cell(page: Page, host: str, slot: int, cards: int = 8) -> dict[str, Any]:
    """Position and colours of a GPU's cell on the canvas; `cards` are those of the largest host."""
    found: dict[str, Any] = page.evaluate(CELL, [host, slot, cards])
    return found


def hover(page: Page, host: str, slot: int) -> str:
    """The tooltip of the map for a GPU."""
    place = cell(page, host, slot)
    canvas = page.locator("#map canvas")
    canvas.hover(position={"x": place["x"], "y": place["y"]})
    return canvas.get_attribute("title") or ""


def test_a_click_on_the_map_expands_the_host_and_scrolls_to_it(
    fleet: Page, complaints: list[str]
) -> None:
    place = cell(fleet, "node11", 3)
    fleet.locator("#map canvas").click(position={"x": place["x"], "y": place["y"]})
    row = fleet.locator("details[data-name='node11']")
    expect(row).to_have_attribute("open", "")
    expect(row.locator("> summary")).to_be_focused()
    expect(row).to_be_in_viewport()
    expect(fleet).to_have_url(re.compile("open=node11"))
    assert complaints == []


def test_a_lost_gpu_is_a_cross_on_the_map_with_a_tooltip(fleet: Page) -> None:
    assert fleet.evaluate(TOKEN, "red") in cell(fleet, "node02", 7)["colours"]
    assert fleet.evaluate(TOKEN, "red") not in cell(fleet, "node01", 7)["colours"]
    assert re.match(r"node02 GPU 7 · lost", hover(fleet, "node02", 7))


def test_free_gpus_are_hollow_and_have_another_colour_in_the_other_theme(fleet: Page) -> None:
    green, card = fleet.evaluate(TOKEN, "green"), fleet.evaluate(TOKEN, "card")
    assert {green, card} <= set(cell(fleet, "node08", 0)["colours"])
    fleet.emulate_media(color_scheme="dark")

    def is_dark() -> bool:
        return {fleet.evaluate(TOKEN, "green"), fleet.evaluate(TOKEN, "card")} <= set(
            cell(fleet, "node08", 0)["colours"]
        )

    assert fleet.evaluate(TOKEN, "green") != green
    eventually(is_dark, "the map in dark colours")


def test_a_stale_host_is_grey_on_the_map(fleet: Page) -> None:
    badge = fleet.locator("details[data-name='node07'] .badge.stale")
    expect(badge).to_be_visible(timeout=STALE_MS)
    assert set(cell(fleet, "node07", 0)["colours"]) >= {fleet.evaluate(TOKEN, "old-ground")}
    assert "stale" in hover(fleet, "node07", 0)


def test_the_map_has_a_text_alternative_of_one_sentence(fleet: Page) -> None:
    picture = fleet.get_by_role("img", name=re.compile("Fleet map"))
    expect(picture).to_have_attribute("aria-label", re.compile(r"on 13 hosts, \d+ free, .* 1 lost"))


def test_the_legend_names_every_state_that_a_cell_may_have(fleet: Page) -> None:
    words = fleet.locator("#map .legend").inner_text()
    for state in ("free", "held idle", "lost", "error", "hot", "asleep", "stale", "missing"):
        assert state in words


def test_a_filter_dims_the_others_on_the_map(fleet: Page) -> None:
    assert fleet.evaluate(TOKEN, "green") in cell(fleet, "node08", 0)["colours"]
    fleet.locator("#search").fill("host:node03")
    expect(fleet.locator("details.host:not([hidden])")).to_have_count(1)
    assert fleet.evaluate(TOKEN, "green") not in cell(fleet, "node08", 0)["colours"]


def test_the_layout_of_the_map_can_be_chosen_and_is_kept_in_the_url(fleet: Page) -> None:
    fleet.locator("#map select").select_option("off")
    expect(fleet.locator("#map canvas")).to_be_hidden()
    expect(fleet).to_have_url(re.compile("map=off"))
    fleet.reload()
    expect(fleet.locator("#map h2")).to_be_visible()
    expect(fleet.locator("#map canvas")).to_be_hidden()
    fleet.locator("#map select").select_option("hosts")
    expect(fleet.locator("#map canvas")).to_be_visible()
    assert re.match(r"node02: \d of 8 free", hover(fleet, "node02", 0))


def test_bars_of_the_last_hour_appear_in_expanded_rows_and_tiles(fleet: Page) -> None:
    fleet.locator("details[data-name='node01'] > summary").click()
    bars = fleet.locator("details[data-name='node01'] .bars path")
    expect(bars).to_have_count(8)
    expect(bars.first).to_have_attribute("d", re.compile("^M"))
    expect(fleet.locator(".tile .bars path").first).to_have_attribute("d", re.compile("^M"))


def test_the_page_works_without_bars_when_history_is_unavailable(house: House, page: Page) -> None:
    page.route("**/recent", lambda route: route.fulfill(status=503, json={"error": "none"}))
    house.start("demo", "--hosts", "3")
    house.host("node01")
    page.goto(house.url)
    rows = page.locator("details[data-name='node01'] table.gpus tbody tr.first")
    expect(rows).to_have_count(8)
    expect(page.locator(".bars path").first).to_have_attribute("d", "")


def test_a_small_fleet_has_no_map(house: House, page: Page) -> None:
    house.start("demo", "--hosts", "5")
    house.host("node05")
    page.goto(house.url)
    expect(page.locator(".cell").first).to_be_visible()
    expect(page.locator("#map")).to_be_hidden()


def test_the_map_fits_a_phone(fleet: Page) -> None:
    fleet.set_viewport_size({"width": 390, "height": 844})
    canvas = fleet.locator("#map canvas")
    eventually(lambda: canvas.evaluate("one => one.width === one.clientWidth"), "the map to fit")
    assert fleet.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_shows_the_user_of_each_gpu_without_sideways_scrolling(fleet: Page) -> None:
    fleet.set_viewport_size({"width": 390, "height": 844})
    fleet.locator("details[data-name='node01'] > summary").click()
    user = fleet.locator("details[data-name='node01'] tbody .user").first
    expect(user).to_be_visible()
    box = user.bounding_box()
    assert box is not None and box["x"] + box["width"] <= 390


def test_numbers_do_not_wrap_on_a_phone(fleet: Page) -> None:
    fleet.set_viewport_size({"width": 390, "height": 844})
    heights = "(numbers) => numbers.map((number) => number.getBoundingClientRect().height)"
    assert max(fleet.locator(".tile .big").evaluate_all(heights)) < 30


def test_memory_held_by_no_visible_process_has_its_own_line(
    house: House, page: Page, fake_nvml: FakeNvml
) -> None:
    fake_nvml.write(
        Scenario(gpus=[Gpu(memory_used_mib=30_720, processes=[Process("self", memory_mib=10_240)])])
    )
    house.start("up", name="node1")
    house.host("node1")
    page.goto(house.url)
    line = page.locator("table.gpus tbody tr").nth(1)
    expect(line).to_contain_text("no visible process")
    expect(line.locator("td.n")).to_have_text("20.0")
    expect(line).to_contain_text("fuser -v /dev/nvidia*")


def test_a_process_that_has_ended_is_labelled(
    house: House, page: Page, fake_nvml: FakeNvml
) -> None:
    ended = Process(2**22, memory_mib=10_240)  # no kernel gives this pid (PID_MAX_LIMIT)
    fake_nvml.write(Scenario(gpus=[Gpu(processes=[ended])]))
    house.start("up", name="node1")
    house.host("node1")
    page.goto(house.url)
    expect(page.locator("table.gpus td.user")).to_have_text("ended")
    expect(page.locator(".attention")).to_contain_text("1 GPU with problems")
    expect(page.locator("#hosts .findings")).to_contain_text(
        "GPU 0 10.0 GiB held by 1 process that has ended"
    )
