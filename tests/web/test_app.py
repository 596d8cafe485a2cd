"""Paths, headers and error responses of the whole application."""

import asyncio
import contextlib
import gzip
import json
import socket
from typing import Any, get_args

import pytest

from gpu_monitor.web.response_headers import HEADERS
from gpu_monitor.web.settings import Role
from tests.support.web_house import House, make_host, web_house

CSP = "default-src 'self'; base-uri 'self'; frame-ancestors 'self'; object-src 'none'"


async def raw(house: House, request: bytes) -> bytes:
    """The response to bytes that no client library would send.

    The server may respond and close before it has read them all, which resets the connection.
    """
    loop, answer = asyncio.get_running_loop(), b""
    with socket.socket() as connection, contextlib.suppress(ConnectionError):
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", house.port))
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(connection, request)
        while data := await loop.sock_recv(connection, 65536):
            answer += data
    return answer


async def test_the_page_refers_to_its_files_by_hash() -> None:
    async with web_house() as house:
        fleet = (await house.get("api/v1/fleet"))[1]
        async with house.client.get(house.root) as response:
            page = await response.text()
            assert response.headers["Cache-Control"] == "no-cache"
        assert f'"a/{fleet["web"]["assets"]}/app.js"' in page
        assert "a/dev/" not in page


@pytest.mark.parametrize("role", get_args(Role))
async def test_every_role_sees_the_warnings(role: Role) -> None:
    async with web_house(viewer_role=role, warnings=("open",)) as house:
        assert (await house.get("api/v1/fleet"))[1]["web"]["warnings"] == ["open"]
        await house.show(a=make_host())
        assert (await house.get("api/v1/fleet"))[1]["web"]["warnings"] == ["open"]


async def test_only_files_with_the_current_hash_are_immutable() -> None:
    async with web_house() as house:
        current = (await house.get("api/v1/fleet"))[1]["web"]["assets"]
        policies = []
        for folder in (current, "dev"):
            async with house.client.get(f"{house.root}a/{folder}/favicon.svg") as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "image/svg+xml"
                policies.append(response.headers["Cache-Control"])
        assert policies == ["public, max-age=31536000, immutable", "no-cache"]


async def test_an_unchanged_file_is_not_sent_again() -> None:
    async with web_house() as house:
        async with house.client.get(house.root) as response:
            tag = response.headers["ETag"]
        async with house.client.get(house.root, headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")


async def test_text_is_compressed_for_clients_that_accept_it() -> None:
    async with web_house() as house:
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        plain = (await raw(house, request + b"\r\n")).partition(b"\r\n\r\n")
        packed = await raw(house, request + b"Accept-Encoding: gzip\r\n\r\n")
        head, _, body = packed.partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head and b"Content-Encoding" not in plain[0]
        assert gzip.decompress(body) == plain[2]


@pytest.mark.parametrize("path", ["", "healthz", "readyz", "api/v1/fleet", "nowhere", "ws"])
async def test_every_response_has_the_security_headers(path: str) -> None:
    async with web_house() as house, house.client.get(house.root + path) as response:
        assert response.headers["Content-Security-Policy"] == CSP
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["Server"] == "gpu-monitor"


@pytest.mark.parametrize("path", ["healthz", "readyz", "api/v1/fleet", "api/v1/free", "nowhere"])
async def test_data_must_not_be_cached(path: str) -> None:
    async with web_house() as house, house.client.get(house.root + path) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.content_type == "application/json"


@pytest.mark.parametrize("base_path", ["/gpus", "/lab/gpus", "/a", "/api"])
@pytest.mark.parametrize("kept", [True, False])
async def test_with_a_base_path_everything_is_served_below_it_and_below_the_root(
    base_path: str, kept: bool
) -> None:
    base = base_path[1:] + "/" if kept else ""
    async with web_house(base_path=base_path) as house:
        await house.show()
        for path in ("", "readyz", "api/v1/fleet", "api/v1/free", "a/dev/favicon.svg"):
            async with house.client.get(house.root + base + path) as response:
                assert response.status == 200
        async with house.watch(base + "ws") as socket:
            assert (await socket.receive_json())["type"] == "fleet"


async def test_the_url_reported_when_ready_is_that_of_the_page() -> None:
    async with web_house(base_path="/gpus") as house, house.client.get(house.url) as response:
        assert house.url.endswith("/gpus/")
        assert response.content_type == "text/html"


@pytest.mark.parametrize(
    ("base", "requested", "location"),
    [
        ("/gpus", "/gpus", "./gpus/"),
        ("/gpus", "/gpus?q=alice&show=idle", "./gpus/?q=alice&show=idle"),
        ("/lab/gpus", "/lab/gpus", "./gpus/"),
    ],
)
async def test_a_base_path_without_its_slash_is_redirected_relatively(
    base: str, requested: str, location: str
) -> None:
    async with web_house(base_path=base) as house:
        request = f"GET {requested} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        answer = await raw(house, request.encode())
        assert answer.startswith(b"HTTP/1.1 302")
        assert f"Location: {location}\r\n".encode() in answer
        assert b"evil" not in answer


@pytest.mark.parametrize("path", ["nowhere", "api/v1", "api/v1/hosts/", "a/dev/none.js", "a/x"])
async def test_an_unknown_path_is_answered_as_json(path: str) -> None:
    async with web_house() as house:
        status, answer = await house.get(path)
        assert (status, answer["error"]) == (404, "Not Found")
        assert "below api/v1/: fleet" in answer["hint"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_get_and_head_are_allowed(method: str) -> None:
    async with web_house() as house:
        async with house.client.request(method, house.root + "api/v1/fleet") as response:
            answer = await response.json()
            assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        assert answer.keys() == {"error", "hint"}


@pytest.mark.parametrize(
    "path",
    [
        "/a/x/../../../setup.cfg",
        "/a/x/..%2f..%2f..%2fsetup.cfg",
        "/a/x/%2e%2e/%2e%2e/%2e%2e/setup.cfg",
        "/a/x//etc/passwd",
        "/a/x/%2fetc%2fpasswd",
        "/a/x/..\\..\\setup.cfg",
        "/a/x/app.js%00.html",
        "/../setup.cfg",
        "//etc/passwd",
        "/a/x/.",
        "/a/x/vendor",
    ],
)
async def test_nothing_outside_the_page_s_files_is_served(path: str) -> None:
    async with web_house() as house:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        answer = await raw(house, request)
        assert answer.split(b" ", 2)[1] in (b"404", b"400")
        assert b"[metadata]" not in answer and b"root:" not in answer


@pytest.mark.parametrize(
    ("request_bytes", "status", "error"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "not an HTTP request"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "malformed request"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "malformed request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431, "a header is too large"),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 200, 431, "there are too many headers"),
        (
            b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 8_000 + b"\r\n") * 5,
            431,
            "the headers are too large",
        ),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, "the address is too long"),
    ],
)
async def test_what_is_no_request_is_refused_like_any_other_and_logged_once(
    request_bytes: bytes, status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with web_house() as house:
        for _ in range(3):
            head, _, body = (await raw(house, request_bytes)).partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            assert int(head.split(b" ", 2)[1]) == status
            assert json.loads(body)["error"] == error
            assert HEADERS.items() <= fields.items() and fields["Cache-Control"] == "no-store"
            assert b"aiohttp" not in head
    (record,) = [r for r in caplog.records if r.name.startswith("gpu_monitor.web")]
    assert record.message == f"127.0.0.1: {error}"


async def test_head_is_answered_without_a_body() -> None:
    async with web_house() as house:
        for path in ("", "healthz", "api/v1/fleet"):
            async with house.client.head(house.root + path) as response:
                assert (response.status, await response.read()) == (200, b"")


async def test_an_internal_error_is_answered_as_json_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_house() as house:
        twins = {"use": ["free", "free"], "index": [0, None], "state": ["ok", "ok"]}
        await house.show(a={"state": "live", "gpus": twins})
        status, answer = await house.get("api/v1/free")
        assert (status, answer["error"]) == (500, "internal error")
    assert any(
        "internal error while answering /api/v1/free" in record.message for record in caplog.records
    )


async def test_a_port_in_use_raises_oserror() -> None:
    async with web_house() as house:
        from gpu_monitor.web.main import run
        from gpu_monitor.web.settings import WebSettings

        settings: Any = WebSettings(web_port=house.port)
        with pytest.raises(OSError):
            await run(settings)


@pytest.mark.parametrize("path", [b"/", b"/nowhere", b"/api/v1/fleet"])
@pytest.mark.parametrize("expect", [b"\x80", b"200-perhaps"])
async def test_an_unknown_expectation_is_answered_as_json(path: bytes, expect: bytes) -> None:
    async with web_house() as house:
        head, _, body = (
            await raw(
                house,
                b"GET %b HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nConnection: close\r\n\r\n"
                % (path, expect),
            )
        ).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 417 ") and CSP.encode() in head
        assert json.loads(body)["error"] == "Expectation Failed"


async def test_100_continue_is_answered() -> None:
    async with web_house() as house:
        request = (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n"
        )
        answer = await raw(house, request)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_errors_are_plain_text_in_a_browser() -> None:
    async with web_house() as house:
        headers = {"Accept": "text/html,*/*;q=0.8"}
        async with house.client.get(house.root + "nowhere", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (404, "text/plain")
            assert answer.headers["Cache-Control"] == "no-store"
            first, second, _ = (await answer.text()).split("\n")
        body = (await house.get("nowhere"))[1]
        assert body == {"error": first, "hint": second}
