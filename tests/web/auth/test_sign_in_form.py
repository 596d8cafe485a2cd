"""Signing in with a token in a browser: link, form, cookie; and no input makes the server fail."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.guarded_house import TOKEN, basic, guarded
from tests.support.web_house import House

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
COOKIE = "gpu-monitor"


@asynccontextmanager
async def visit(
    viewers: Path, path: str = "", method: str = "GET", data: object = None, **headers: str
) -> AsyncIterator[tuple[aiohttp.ClientResponse, str]]:
    """The response to a browser without a cookie, and its text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        guarded(viewers, "token") as house,
        aiohttp.ClientSession(headers=HTML) as browser,
        browser.request(method, house.root + path, data=data, headers=named) as answer,
    ):
        yield answer, await answer.text()


def set_cookie(answer: aiohttp.ClientResponse) -> str:
    (header,) = answer.headers.getall("Set-Cookie")
    return header


async def test_a_browser_sees_only_the_form_until_it_has_signed_in(
    viewers: Path,
) -> None:
    async with visit(viewers) as (answer, text):
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert re.findall(r"<form[^>]*>", text) == ['<form method="post">']
        assert "<script" not in text and "app.js" not in text and "style=" not in text


async def test_the_form_s_policy_allows_only_its_own_style(viewers: Path) -> None:
    async with visit(viewers) as (answer, text):
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers["Content-Security-Policy"]
        assert f"style-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "form-action 'self'" in policy


async def test_a_script_is_refused_as_json(viewers: Path) -> None:
    async with visit(viewers, Accept="*/*") as (answer, _):
        assert answer.content_type == "application/json"


@pytest.mark.parametrize("base", ["", "gpus/"])
async def test_a_link_signs_in_and_opens_the_page_without_the_token(
    base: str, viewers: Path
) -> None:
    path = f"{base}?q=user:alice&token={TOKEN}&show=idle&token=x"
    async with visit(viewers, path) as (answer, text):
        assert answer.status == 200
        assert 'content="0; url=./?q=user%3Aalice&amp;show=idle"' in text
        assert TOKEN not in text
        assert answer.headers["Cache-Control"] == "no-store"
        assert set_cookie(answer) == (
            f"{COOKIE}={TOKEN}; HttpOnly; Max-Age=2592000; SameSite=Strict"
        )


async def test_the_cookie_is_secure_behind_a_proxy_with_https(viewers: Path) -> None:
    async with visit(viewers, f"?token={TOKEN}", X_Forwarded_Proto="https") as (answer, _):
        assert set_cookie(answer).endswith("; Secure")


async def test_a_link_with_a_wrong_token_shows_an_error_and_sets_no_cookie(viewers: Path) -> None:
    async with visit(viewers, "?token=<b>wrong") as (answer, text):
        assert answer.status == 401
        assert "Unknown token." in text and "<b>" not in text
        assert "Set-Cookie" not in answer.headers


async def test_the_form_signs_in(viewers: Path) -> None:
    data = {"token": f" {TOKEN}\n"}
    async with visit(viewers, "gpus/?q=a", "POST", data) as (answer, text):
        assert answer.status == 200
        assert 'url=./?q=a"' in text
        assert set_cookie(answer).startswith(f"{COOKIE}={TOKEN}; ")


async def test_a_wrong_token_in_the_form_shows_an_error(viewers: Path) -> None:
    async with visit(viewers, "", "POST", {"token": "wrong"}) as (answer, text):
        assert answer.status == 401 and '<p role="alert"' in text


async def test_a_link_with_an_empty_token_offers_to_sign_out(viewers: Path) -> None:
    async with visit(viewers, "?token=", Cookie=f"{COOKIE}={TOKEN}") as (answer, text):
        assert answer.status == 401 and '<p role="alert"' not in text
        assert "Sign out of this browser" in text
    async with visit(viewers, "?token=") as (answer, text):
        assert answer.status == 401 and "Sign out" not in text


async def test_the_empty_form_signs_out(viewers: Path) -> None:
    async with visit(viewers, "", "POST", {"token": ""}) as (answer, text):
        assert answer.status == 200 and "You are signed out" in text
        assert set_cookie(answer) == f'{COOKIE}=""; HttpOnly; Max-Age=0; SameSite=Strict'


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_another_site_s_form_does_not_sign_in(site: str, viewers: Path) -> None:
    data = {"token": TOKEN}
    async with visit(viewers, "", "POST", data, Sec_Fetch_Site=site) as (answer, _):
        assert answer.status == 403 and "Set-Cookie" not in answer.headers


OWN = [
    {"Origin": "http://gpus:8042", "Host": "gpus:8042"},
    {"Origin": "http://GPUs.example.org", "Host": "gpus.example.org."},
    {"Origin": "https://gpus", "Host": "gpus"},
    {"Origin": "https://gpus", "Host": "gpus:443"},
    {"Origin": "http://[::1]:8042", "Host": "[::1]:8042"},
    {"Origin": "https://gpus", "Host": "localhost:8042", "X-Forwarded-Host": "other, gpus"},
    {"Host": "gpus"},
    {"Origin": "https://outside", "Host": "gpus", "Sec-Fetch-Site": "same-origin"},
]
FOREIGN = [
    {"Origin": "http://evil", "Host": "gpus"},
    {"Origin": "http://gpus:8043", "Host": "gpus:8042"},
    {"Origin": "http://gpus", "Host": "gpus:443"},
    {"Origin": "http://gpus.evil", "Host": "gpus"},
    {"Origin": "null", "Host": "null"},
    {"Origin": "", "Host": "gpus"},
    {"Origin": "ftp://gpus", "Host": "gpus"},
    {"Origin": "http://gpus:x", "Host": "gpus:x"},
    {"Origin": "http://gpus", "Host": "gpus", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("token", [TOKEN, ""])
@pytest.mark.parametrize(
    ("headers", "status"), [(own, 200) for own in OWN] + [(foreign, 403) for foreign in FOREIGN]
)
async def test_a_form_counts_only_from_the_page_s_own_origin(
    token: str, headers: dict[str, str], status: int, viewers: Path
) -> None:
    """Also in browsers that send no Sec-Fetch-Site, as all do over plain HTTP."""
    async with visit(viewers, "", "POST", {"token": token}, **headers) as (answer, _):
        assert answer.status == status
        assert ("Set-Cookie" in answer.headers) is (status == 200)


async def test_another_client_s_x_forwarded_host_does_not_make_a_form_its_own(
    viewers: Path,
) -> None:
    headers = {"Origin": "https://evil", "X-Forwarded-Host": "evil", "Host": "gpus"}
    async with (
        guarded(viewers, "token", trusted_proxies=()) as house,
        house.client.post(house.root, data={"token": TOKEN}, headers=headers) as answer,
    ):
        assert answer.status == 403


async def test_a_link_on_another_site_is_opened_again_from_this_site(viewers: Path) -> None:
    async with visit(viewers, "?q=a", Sec_Fetch_Site="cross-site") as (answer, text):
        assert answer.status == 401
        assert 'content="0; url=./?q=a"' in text and "<form" not in text


@pytest.mark.parametrize(
    ("data", "status"), [(b"x" * 5000, 413), ("token=" + "x" * 900, 401), ("&&&=", 200)]
)
async def test_malformed_forms_are_refused(data: object, status: int, viewers: Path) -> None:
    form = "application/x-www-form-urlencoded"
    async with visit(viewers, "", "POST", data, Content_Type=form) as (answer, _):
        assert answer.status == status


async def test_other_content_types_are_refused(viewers: Path) -> None:
    async with visit(viewers, "", "POST", b"{}", Content_Type="application/json") as (answer, _):
        assert answer.status == 415


@pytest.mark.parametrize(
    ("header", "body", "answer"),
    [
        ("Content-Encoding: gzip\r\nContent-Length: 4", "abcd", "400 Bad Request"),
        ("Transfer-Encoding: chunked", "5\r\nabc", ""),
        ("Content-Length: 9", "tok", ""),
    ],
)
async def test_an_unreadable_body_is_not_logged_as_an_error(
    header: str, body: str, answer: str, viewers: Path, caplog: pytest.LogCaptureFixture
) -> None:
    form = f"Content-Type: application/x-www-form-urlencoded\r\n{header}"
    async with guarded(viewers, "token") as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(f"POST / HTTP/1.1\r\nHost: localhost\r\n{form}\r\n\r\n{body}".encode())
        if not answer:
            writer.write_eof()
        found = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert answer in found.decode()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("mode", ["none", "basic", "proxy"])
async def test_only_mode_token_has_a_form(mode: str, viewers: Path) -> None:
    async with guarded(viewers, mode) as house:
        async with house.client.post(house.root, data={"token": TOKEN}) as answer:
            assert answer.status == 405
        async with house.client.get(f"{house.root}?token={TOKEN}") as answer:
            assert answer.status == 200 and "Set-Cookie" not in answer.headers


async def test_a_visit_renews_the_cookie(viewers: Path) -> None:
    async with guarded(viewers, "token") as house, aiohttp.ClientSession() as browser:
        headers = {"Cookie": f"{COOKIE}=stale; {COOKIE}={TOKEN}"}
        async with browser.get(house.root, headers=headers) as answer:
            assert answer.status == 200
            assert set_cookie(answer).startswith(f"{COOKIE}={TOKEN}; HttpOnly; Max-Age=2592000")
        async with house.client.get(house.root) as answer:
            assert answer.status == 200 and "Set-Cookie" not in answer.headers


wire_text = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"),
    max_size=60,
)
near_misses = st.sampled_from(
    [
        "Bearer",
        "Bearer  ",
        "bearer " + TOKEN,
        "Basic",
        "Basic Og==",
        "Basic /////w==",
        basic("", ""),
        f"{COOKIE}=",
        f'{COOKIE}="{TOKEN}',
        f"{COOKIE}={TOKEN}; =; ;;",
        "gpu-monitor.ticket.",
        "gpu-monitor.v1.json, gpu-monitor.ticket.x",
        "https://[::1",
        "127.0.0.1, [::1]:x, ::ffff:1.2.3.4%25",
        "\xff\xfe",
    ]
)
names = st.sampled_from(
    [
        "Authorization",
        "Cookie",
        "Origin",
        "X-Remote-User",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Upgrade",
        "Connection",
        "Sec-Fetch-Site",
        "Accept",
        "Accept-Encoding",
        "If-None-Match",
        "Content-Type",
        "Content-Length",
        "Transfer-Encoding",
        "Expect",
    ]
)
paths = st.sampled_from(
    ["/", "/gpus/", "/ws", "/readyz", "/api/v1/ticket", "/api/v1/hosts/a", "/a/x/app.js", "/%ff"]
)
queries = st.sampled_from(["token", "q", "hosts", "%ff", "to%00ken"]).flatmap(
    lambda name: wire_text.map(lambda value: f"?{name}={urlencode({'': value})[1:]}")
) | st.sampled_from(["", "?", "?token", "?token=%ff%00", "?token=%ED%A0%80", "?&=&;", "?token[]=1"])


@pytest.mark.parametrize("mode", ["none", "token", "basic", "proxy"])
def test_no_input_makes_the_server_fail(mode: str, viewers: Path) -> None:
    """One server receives all examples and must be healthy at the end."""
    loop = asyncio.new_event_loop()

    async def send(house: House, method: str, target: str, headers: object, body: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        lines = [f"{method} {target} HTTP/1.1", "Host: x"]
        lines += [f"{name}: {value}" for name, value in headers]  # type: ignore[attr-defined]  # pairs
        writer.write("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body)
        writer.write_eof()
        status = await reader.readline()
        writer.close()
        return int(status.split(b" ")[1]) if status else 0

    house_context = guarded(viewers, mode)
    house = loop.run_until_complete(house_context.__aenter__())

    @settings(max_examples=150)
    @example("POST", "/", [("Content-Type", "application/x-www-form-urlencoded")], b"token=\xff")
    @example("GET", "/", [("Expect", "\x80")], b"")
    @example("GET", "/nowhere", [("Expect", "\x80")], b"")
    @example("GET", "/?token=%ED%A0%80", [("Accept", "text/html")], b"")
    @given(
        st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]),
        st.tuples(paths, queries).map("".join),
        st.lists(st.tuples(names, wire_text | near_misses), max_size=6),
        st.binary(max_size=40),
    )
    def throw(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        assert loop.run_until_complete(send(house, method, target, headers, body)) != 500

    try:
        throw()
        assert loop.run_until_complete(house.get("healthz")) == (200, {"status": "ok"})
    finally:
        loop.run_until_complete(house_context.__aexit__(None, None, None))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
