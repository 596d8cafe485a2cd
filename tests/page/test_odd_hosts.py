"""Hosts that strain the page: 256 rows, doubled and exchanged UUIDs, names of odd characters."""

import csv
import io
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.fake_nvml import FakeNvml, Gpu, Mig, Process, Scenario
from tests.fake_nvml.scenario import Driver
from tests.page.test_map import cell
from tests.support.house import House, eventually

pytestmark = pytest.mark.browser

SLICES = 7
REST_SECONDS = 90.0
"""Longer than a GPU has to be quiet before it is free."""
ODD_NAME = "NVIDIA \"H100\" <b>=1+1</b>, 'é' & 80%"
DENSE = Gpu(name="NVIDIA H100", migs=[Mig() for _ in range(SLICES)])


def start(house: House, fake: FakeNvml, *gpus: Gpu) -> dict[str, Any]:
    """A running `gpu-monitor up` with these GPUs, and its host."""
    fake.write(Scenario(gpus=list(gpus)))
    house.start("up", name="node1", rpc_timeout=30)
    return house.host("node1")


def use(house: House) -> list[str | None]:
    """What the broker says of each row."""
    column: list[str | None] = house.host("node1")["gpus"]["use"]
    return column


def row(page: Page) -> Locator:
    return page.locator("details[data-name='node1']")


def lines(page: Page) -> Locator:
    """The first line of each GPU in the open row."""
    return row(page).locator("table.gpus tbody tr.first")


def download(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = download.value.path().read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_32_divided_cards_are_shown_completely(
    house: House, fake_nvml: FakeNvml, page: Page, complaints: list[str]
) -> None:
    start(house, fake_nvml, *[DENSE] * 32)
    eventually(lambda: use(house).count("free") == 224, "all slices to be free", REST_SECONDS)
    page.goto(house.url + "?open=node1&map=strips&need=1x0")

    expect(row(page).locator(".cell")).to_have_count(256)
    expect(lines(page)).to_have_count(256)
    expect(lines(page).nth(255).locator("th")).to_contain_text("31.6")
    offer = page.locator(".offer").first
    expect(offer).to_contain_text("GPU 0.0")
    expect(offer).to_contain_text("leaves 223 free")
    last = cell(page, "node1", 31, cards=32)
    assert len(last["colours"]) > 1, "the map's cell of the last card is empty"
    page.locator("#map canvas").hover(position={"x": last["x"], "y": last["y"]})
    expect(page.locator("#map canvas")).to_have_attribute("title", re.compile("^node1 GPU 31 "))
    page.goto(house.url)
    expect(row(page).locator(".cell")).to_have_count(256)
    expect(row(page).locator(".name")).to_be_in_viewport(ratio=1)
    page.mouse.wheel(0, 700)
    expect(row(page).locator(".cell").first).not_to_be_in_viewport()
    expect(row(page).locator(".name")).to_be_in_viewport(ratio=1)
    found = download(page)
    assert len({line["gpu_uuid"] for line in found}) == len(found) == 256
    assert complaints == []


def test_a_host_with_too_many_rows_says_so(house: House, fake_nvml: FakeNvml, page: Page) -> None:
    start(house, fake_nvml, *[DENSE] * 33)
    page.goto(house.url + "?open=node1")

    expect(row(page)).to_contain_text("256 of 264 GPUs and slices shown")
    expect(lines(page)).to_have_count(256)


def test_gpus_with_one_uuid_are_two_gpus(house: House, fake_nvml: FakeNvml, page: Page) -> None:
    idle = Gpu(uuid="GPU-twin", pci_bus_id="00000000:01:00.0")
    busy = Gpu(
        uuid="GPU-twin",
        pci_bus_id="00000000:02:00.0",
        utilization_percent=90,
        processes=[Process("self", 4096)],
    )
    start(house, fake_nvml, idle, busy)
    eventually(lambda: use(house)[0] == "free", "the idle twin to be free", REST_SECONDS)
    page.goto(house.url + "?open=node1&need=1x0")

    expect(row(page).locator(".cell")).to_have_count(2)
    expect(row(page).locator(".cell").nth(1)).to_contain_text("90%")
    expect(lines(page).nth(0)).to_contain_text("0%")
    expect(lines(page).nth(1)).to_contain_text("90%")
    hours = row(page).locator("td.hour path")
    expect(hours).to_have_count(2)
    expect(hours.nth(1)).to_have_attribute("d", re.compile(r"v-16\.2"))
    expect(hours.nth(0)).not_to_have_attribute("d", re.compile(r"v-16\.2"))
    expect(page.locator(".offer code", has_text="CUDA_VISIBLE")).to_have_text(
        "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=0"
    )
    page.goto(house.url)
    expect(row(page).locator(".cell").nth(1)).to_contain_text("90%")
    used = {line["gpu_pci_bus_id"]: line["gpu_utilization_percent"] for line in download(page)}
    assert used == {"00000000:01:00.0": "0", "00000000:02:00.0": "90"}


def test_gpus_that_exchange_their_slots_exchange_their_rows(
    house: House, fake_nvml: FakeNvml, page: Page
) -> None:
    first = Gpu(uuid="GPU-a", name="NVIDIA A", pci_bus_id="00000000:01:00.0")
    second = Gpu(
        uuid="GPU-b",
        name="NVIDIA B",
        pci_bus_id="00000000:02:00.0",
        utilization_percent=70,
        processes=[Process("self", 4096)],
    )
    start(house, fake_nvml, first, second)
    page.goto(house.url + "?open=node1")
    names = lines(page).locator("th")
    expect(names.nth(0)).to_have_attribute("title", "NVIDIA A\nGPU-a")

    moved = [
        Gpu(**{**vars(second), "pci_bus_id": first.pci_bus_id}),
        Gpu(**{**vars(first), "pci_bus_id": second.pci_bus_id}),
    ]
    fake_nvml.write(Scenario(gpus=moved, driver=Driver(generation=2)))

    expect(names.nth(0)).to_have_attribute("title", "NVIDIA B\nGPU-b")
    expect(names.nth(1)).to_have_attribute("title", "NVIDIA A\nGPU-a")
    expect(lines(page)).to_have_count(2)
    expect(lines(page).nth(0)).to_contain_text("70%")
    expect(row(page).locator(".cell").nth(0)).to_contain_text("70%")


def test_a_name_with_odd_characters_is_text_everywhere(
    house: House, fake_nvml: FakeNvml, page: Page, complaints: list[str]
) -> None:
    start(house, fake_nvml, Gpu(name=ODD_NAME, uuid="GPU-odd"))
    eventually(lambda: use(house) == ["free"], "a free GPU")
    page.goto(house.url + "?open=node1&map=strips&need=1x0")

    expect(lines(page).locator("th")).to_have_attribute("title", f"{ODD_NAME}\nGPU-odd")
    assert page.locator("b", has_text="=1+1").count() == 0
    assert [line["gpu_name"] for line in download(page)] == [ODD_NAME]
    page.locator("#search").fill("model:<b>=1+1</b>")
    expect(row(page)).to_be_visible()
    page.reload()
    expect(row(page)).to_be_visible()
    page.locator("#search").fill("model:<i>")
    expect(row(page)).to_be_hidden()
    assert complaints == []
