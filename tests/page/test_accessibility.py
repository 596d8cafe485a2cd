"""axe-core finds no serious accessibility problem on the page."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.support.house import ROOT, House, eventually

pytestmark = pytest.mark.browser

AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
DESKTOP, PHONE = 1440, 390
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ target, failureSummary }) => [impact, id, target.join(" "), failureSummary]));
}"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Five simulated hosts: an ordinary one, then one with a lost, sleeping, hot, sliced GPU."""
    with closing(House(tmp_path_factory.mktemp("demo"))) as house:
        house.start("demo", "--hosts", "5", rpc_timeout=30)  # tolerates pauses
        eventually(
            lambda: (
                (house.get("api/v1/fleet") or {}).get("totals", {}).get("hosts_live") == 5 or None
            ),
            "the demo's hosts to be live",
        )
        yield house


@pytest.fixture
def visit(demo: House, page: Page) -> Page:
    """The demo's page, with one host expanded to its GPUs and processes."""
    page.goto(demo.url)
    row = page.locator("details[data-name='node01']")
    expect(row).to_be_visible()
    if row.get_attribute("open") is None:
        row.locator("> summary").click()
    expect(row.locator("table.gpus tbody tr").first).to_be_visible()
    return page


def findings(page: Page) -> str:
    """One line for each serious or critical finding of axe-core: rule, selector and fix."""
    assert AXE.exists(), "axe-core is missing: make test installs it"
    # Evaluated through DevTools: the page's security policy blocks injected scripts.
    page.evaluate(AXE.read_text())
    found = page.evaluate(RUN)
    return "\n".join(
        f"{rule}: {where}: {' '.join(why.split())}"
        for impact, rule, where, why in found
        if impact in SERIOUS
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_page_is_accessible(visit: Page, width: int, theme: str) -> None:
    visit.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    visit.set_viewport_size({"width": width, "height": 844})
    assert findings(visit) == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_list_of_keys_is_accessible(visit: Page, theme: str) -> None:
    visit.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    visit.keyboard.press("?")
    expect(visit.locator("dialog#keys")).to_be_visible()
    assert findings(visit) == ""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "query",
    ["?show=idle", "?q=nobody-has-this-name", "?q=no:word", "?need=1x1", "?need=64x900"],
)
def test_filters_and_the_finder_are_accessible(
    demo: House, page: Page, query: str, theme: str
) -> None:
    """Filters, a search without a match, and the finder with and without an offer."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(demo.url + query)
    expect(page.locator("#about span").first).to_be_visible()
    assert findings(page) == ""


def test_an_inaccessible_element_is_found(visit: Page) -> None:
    visit.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert findings(visit).startswith("button-name: main > button:")
