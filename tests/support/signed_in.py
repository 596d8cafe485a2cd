"""Houses that ask for a sign-in, for the tests of the page."""

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.house import COMMAND, PATIENCE_SECONDS, ROOT, House, eventually


def add_viewer(house: House, name: str, role: str, stdin: str = "", **keys: object) -> str:
    """Run `gpu-monitor viewers add` and return what it prints: a token."""
    command = [*COMMAND, "viewers", "add", name, "--role", role, "--config"]
    path = str(house.config(**keys))
    done = subprocess.run(
        [*command, path], input=stdin, capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout.strip()


def answers(url: str, **headers: str) -> Any:
    """The JSON a script receives; None if it is refused."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def start_up(house: House, token: str = "", **keys: Any) -> None:
    house.start("up", name="node1", **keys)
    key = {"Authorization": f"Bearer {token}"} if token else {}
    url = house.url + "api/v1/hosts/node1"
    eventually(lambda: (answers(url, **key) or {}).get("state") == "live", "node1 to be live")


def expect_live(page: Page) -> None:
    expect(page.locator("#link")).to_contain_text("Live")
    expect(page.locator("details[data-name='node1'] .cell").first).to_contain_text("37%")
