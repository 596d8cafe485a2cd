"""Only people who have signed in are answered: every mode, path and credential."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from gpu_monitor.web.auth.hashing import hash_token
from gpu_monitor.web.stream.encodings import ENCODINGS
from tests.support.guarded_house import (
    CLOSED,
    DUE,
    GONE,
    OTHER,
    TOKEN,
    USER,
    Headers,
    ask,
    basic,
    guarded,
    handshake,
    remove_gone,
)
from tests.support.house import ROOT
from tests.support.web_house import (
    Follower,
    make_host,
    web_house,
)

FILES = ["a/dev/app.js", "a/dev/style.css", "a/dev/sign-in.html"]
DATA = ["", *FILES, "readyz", "metrics", "nowhere"]
API = ["fleet", "hosts/a", "hosts/a/recent", "hosts/none", "recent", "users", "free", "ticket"]
PATHS = [*DATA, *(f"api/v1/{name}" for name in API)]
BASES = ["", "gpus/"]
OPEN = ["healthz", "gpus/healthz", "gpus"]
PROTOCOLS = ["", *ENCODINGS]


class Try(NamedTuple):
    """Headers of a request, and whether they must be answered."""

    due: bool
    headers: Headers


def attempt(due: bool, *headers: tuple[str, str]) -> Try:
    return Try(due, headers)


TRIES: dict[str, dict[str, Try]] = {
    "none": {"nothing": attempt(True), "a token": attempt(True, ("Authorization", "Bearer x"))},
    "token": {
        "nothing": attempt(False),
        "a wrong token": attempt(False, ("Authorization", "Bearer wrong")),
        "the right token": attempt(True, ("Authorization", f"Bearer {TOKEN}")),
        "a removed token": attempt(False, ("Authorization", f"Bearer {GONE}")),
        "its hash": attempt(False, ("Authorization", f"Bearer {hash_token(TOKEN)}")),
        "the token as a password": attempt(False, ("Authorization", basic("alice", TOKEN))),
        "an empty token": attempt(False, ("Authorization", "Bearer ")),
        "the right cookie": attempt(True, ("Cookie", f"a=b; gpu-monitor={TOKEN}")),
        "two cookies": attempt(True, ("Cookie", f"gpu-monitor=x; gpu-monitor={TOKEN}")),
        "a wrong cookie": attempt(False, ("Cookie", "gpu-monitor=wrong")),
        "a removed cookie": attempt(False, ("Cookie", f"gpu-monitor={GONE}")),
        "another cookie": attempt(False, ("Cookie", f"other={TOKEN}")),
        "a proxy's header": attempt(False, (USER, "alice")),
    },
    "basic": {
        "nothing": attempt(False),
        "the right password": attempt(True, ("Authorization", basic("alice", TOKEN))),
        "a wrong password": attempt(False, ("Authorization", basic("alice", "wrong"))),
        "another's password": attempt(False, ("Authorization", basic("bob", TOKEN))),
        "an unknown name": attempt(False, ("Authorization", basic("nobody", TOKEN))),
        "a removed viewer": attempt(False, ("Authorization", basic("gone", GONE))),
        "one without a password": attempt(False, ("Authorization", basic("tokenful", OTHER))),
        "no base64": attempt(False, ("Authorization", "Basic !!!")),
        "no colon": attempt(False, ("Authorization", "Basic YWxpY2U=")),
        "a token": attempt(False, ("Authorization", f"Bearer {OTHER}")),
        "a cookie": attempt(False, ("Cookie", f"gpu-monitor={OTHER}")),
        "a proxy's header": attempt(False, (USER, "alice")),
    },
    "proxy": {
        "nothing": attempt(False),
        "a viewer's name": attempt(True, (USER, "alice")),
        "a name without a secret": attempt(True, (USER, "proxied")),
        "an unknown name": attempt(False, (USER, "nobody")),
        "a removed viewer": attempt(False, (USER, "gone")),
        "no name": attempt(False, (USER, "")),
        "two names": attempt(False, (USER, "alice"), (USER, "bob")),
        "a list of names": attempt(False, (USER, "alice, bob")),
        "another header": attempt(False, ("X-Forwarded-User", "alice")),
        "a token": attempt(False, ("Authorization", f"Bearer {OTHER}")),
    },
    "proxy elsewhere": {
        "nothing": attempt(False),
        "a viewer's name": attempt(False, (USER, "alice")),
        "a forged hop": attempt(False, (USER, "alice"), ("X-Forwarded-For", "198.51.100.1")),
    },
}


def all_requests(headers: Headers) -> list[tuple[str, Headers, str]]:
    """Every path with both methods, and every kind of websocket."""
    paths = [
        (base + path, headers, method)
        for base in BASES
        for path in PATHS
        for method in ("GET", "HEAD")
    ]
    sockets = [
        (f"{base}ws", (*headers, *handshake(protocol)), "GET")
        for base in BASES
        for protocol in PROTOCOLS
    ]
    return paths + sockets


def test_the_security_page_says_how_many_requests_are_tried() -> None:
    tries = sum(len(tries) for tries in TRIES.values())
    cells = tries * (len(all_requests(())) + len(OPEN))
    page = (ROOT / "docs" / "security.md").read_text()
    assert f"{cells:,} requests" in page


@pytest.mark.parametrize("mode", TRIES)
async def test_only_requests_that_are_signed_in_are_answered(mode: str, viewers: Path) -> None:
    async with guarded(viewers, mode) as house:
        await remove_gone(house, viewers, mode)
        for title, (due, headers) in TRIES[mode].items():
            requests = all_requests(headers)
            answers = await asyncio.gather(*(ask(house, *request) for request in requests))
            allowed = DUE if due else CLOSED
            unexpected = [
                (path, method, status)
                for (path, _, method), status in zip(requests, answers, strict=True)
                if status not in allowed
            ]
            assert unexpected == [], title
            assert due == (200 in answers) == (101 in answers), title
            opened = [await ask(house, path, headers) for path in OPEN]
            assert opened == [200, 200, 302]


@pytest.mark.parametrize("mode", ["token", "basic"])
async def test_a_token_in_the_url_opens_only_the_page(mode: str, viewers: Path) -> None:
    async with guarded(viewers, mode) as house:
        for path in [*PATHS[1:], "ws"]:
            assert await ask(house, f"{path}?token={TOKEN}", ()) == 401


async def test_healthz_reveals_nothing(viewers: Path) -> None:
    async with (
        guarded(viewers, "token") as house,
        aiohttp.ClientSession() as anonymous,
        anonymous.get(house.root + "healthz") as answer,
    ):
        assert await answer.json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("name", "role"), [("alice", "commands"), ("proxied", "names"), ("bob", "counts")]
)
async def test_each_person_sees_what_their_role_allows(name: str, role: str, viewers: Path) -> None:
    async with guarded(viewers, "proxy") as house:
        async with house.watch(headers={USER: name}) as socket:
            viewer = Follower(socket)
            await viewer.receive()
        status, fleet = await house.get("api/v1/fleet", headers={USER: name})
        assert (status, fleet["web"]["role"]) == (200, role)
        assert viewer.document == fleet


async def test_without_a_file_everyone_named_by_the_proxy_is_admitted() -> None:
    async with web_house({USER: "anybody"}, sign_in="proxy", viewer_role="names") as house:
        await house.show(a=make_host())
        assert (await house.get("api/v1/fleet"))[1]["web"]["role"] == "names"


@pytest.mark.parametrize(
    ("mode", "challenge"),
    [
        ("token", 'Bearer realm="GPU Monitor"'),
        ("basic", 'Basic realm="GPU Monitor", charset="UTF-8"'),
    ],
)
async def test_a_refusal_gives_a_hint_and_background_requests_open_no_dialog(
    mode: str, challenge: str, viewers: Path
) -> None:
    async with guarded(viewers, mode) as house, aiohttp.ClientSession() as anonymous:
        async with anonymous.get(house.root + "api/v1/fleet") as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, challenge)
            assert (await answer.json()).keys() == {"error", "hint"}
        async with anonymous.get(house.root + "api/v1/ticket") as answer:
            assert answer.status == 401 and "WWW-Authenticate" not in answer.headers


async def test_shared_caches_may_not_keep_files_that_need_a_sign_in(viewers: Path) -> None:
    async with guarded(viewers, "token") as house:
        current = (await house.get("api/v1/fleet"))[1]["web"]["assets"]
        async with house.client.get(f"{house.root}a/{current}/favicon.svg") as answer:
            assert answer.headers["Cache-Control"].startswith("private")
