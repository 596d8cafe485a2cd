"""Signing in by the browser's own dialog, or by a proxy, with real nginx and Caddy."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.fake_nvml import FakeNvml
from tests.support.house import House, eventually
from tests.support.proxies import fenced_block, find_program, proxy
from tests.support.signed_in import add_viewer, answers, expect_live

pytestmark = pytest.mark.browser

NGINX_SIGNS_IN = fenced_block("nginx sign-in")


CADDY_SIGNS_IN = fenced_block("caddyfile sign-in")


PASSWORD = "a long password"


FORGED = """
async () => {
  const answer = await fetch("api/v1/fleet", { headers: { "X-Remote-User": "root" } });
  return (await answer.json()).web.role;
}
"""


def test_basic_sign_in_uses_the_browser_s_own_dialog(
    browser: Browser, fake: FakeNvml, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"sign_in": "basic", "viewers": "viewers"}
    with closing(House(tmp_path, fake.environment())) as house:
        add_viewer(house, "zoë", "names", PASSWORD + "\n", **keys)
        house.start("up", name="node1", **keys)
        eventually(lambda: answers(house.url + "healthz"), "the page to be served")
        with signed_in(browser, "zoë", PASSWORD) as page:
            page.goto(house.url)
            expect_live(page)
        with signed_in(browser, "zoë", "wrong") as refused:
            answer = refused.goto(house.url)
            assert answer is not None and answer.status == 401
            expect(refused.locator("#link")).to_have_count(0)


@contextmanager
def signed_in(browser: Browser, name: str, password: str) -> Iterator[Page]:
    """A page of a browser that answers sign-in dialogs with this name and password."""
    context = browser.new_context(http_credentials={"username": name, "password": password})
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.mark.parametrize("program", ["nginx", "caddy"])
def test_sign_in_by_a_proxy_works_as_the_security_page_shows(
    program: str, browser: Browser, fake: FakeNvml, tmp_path: Path
) -> None:
    if program == "nginx":
        passwords = tmp_path / "gpus.htpasswd"
        passwords.write_text(f"alice:{{PLAIN}}{PASSWORD}\n")
        block = NGINX_SIGNS_IN.replace("/etc/nginx/gpus.htpasswd", str(passwords))
    else:
        hashed = subprocess.run(
            [find_program("caddy"), "hash-password", "--plaintext", PASSWORD],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        block = re.sub(r"alice \$2a\$\S+", lambda _: f"alice {hashed}", CADDY_SIGNS_IN)
    keys: dict[str, Any] = {
        "sign_in": "proxy",
        "trusted_proxies": ["127.0.0.1"],
        "viewer_role": "names",
    }
    with ExitStack() as stack:
        house = stack.enter_context(closing(House(tmp_path, fake.environment())))
        house.start("up", name="node1", **keys)
        eventually(lambda: answers(house.url + "healthz"), "the page to be served")
        origin = stack.enter_context(proxy(program, block, house.web_port, tmp_path))
        page = stack.enter_context(signed_in(browser, "alice", PASSWORD))
        page.goto(f"{origin}/gpus/")
        expect_live(page)
        assert answers(f"{origin}/gpus/api/v1/fleet") is None
        assert answers(f"{origin}/gpus/api/v1/fleet", **{"X-Remote-User": "alice"}) is None
        assert page.evaluate(FORGED) == "names"
