"""Only people who have signed in are answered: every mode, path and credential."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from gpu_monitor.web.auth.hashing import hash_token
from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.tickets import TICKET_SECONDS, Tickets
from gpu_monitor.web.main import HUB_TICK_SECONDS, TICKS_PER_ACCOUNTS_POLL
from gpu_monitor.web.settings import WebLimits
from gpu_monitor.web.stream.encodings import ENCODINGS
from gpu_monitor.web.stream.handshake import CLOSING_SECONDS
from tests.support.house import ROOT
from tests.support.web_house import (
    PATIENCE_SECONDS,
    Follower,
    House,
    make_host,
    wait_for,
    web_house,
)
from tests.web.auth.test_hashing import cheap_hash

TOKEN, GONE, OTHER = "right-token", "removed-token", "other-token"
DUE, CLOSED = {200, 101, 404, 503}, {401, 403, 429}
FILES = ["a/dev/app.js", "a/dev/style.css", "a/dev/sign-in.html"]
DATA = ["", *FILES, "readyz", "metrics", "nowhere"]
API = ["fleet", "hosts/a", "hosts/a/recent", "hosts/none", "recent", "users", "free", "ticket"]
PATHS = [*DATA, *(f"api/v1/{name}" for name in API)]
BASES = ["", "gpus/"]
OPEN = ["healthz", "gpus/healthz", "gpus"]
PROTOCOLS = ["", *ENCODINGS]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


Headers: TypeAlias = tuple[tuple[str, str], ...]


class Try(NamedTuple):
    """Headers of a request, and whether they must be answered."""

    due: bool
    headers: Headers


def attempt(due: bool, *headers: tuple[str, str]) -> Try:
    return Try(due, headers)


USER = "X-Remote-User"
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
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "token": {"sign_in": "token"},
    "basic": {"sign_in": "basic"},
    "proxy": {"sign_in": "proxy"},
    "proxy elsewhere": {"sign_in": "proxy", "trusted_proxies": ("198.51.100.1",)},
}
KEY = {
    "token": {"Authorization": f"Bearer {TOKEN}"},
    "basic": {"Authorization": basic("alice", TOKEN)},
    "proxy": {USER: "alice"},
}


@pytest.fixture
def viewers(tmp_path: Path) -> Path:
    """An empty viewers' file; `write` fills it."""
    path = tmp_path / "viewers"
    path.touch(0o600)
    return path


def write(path: Path, mode: str, *, gone: bool = True) -> None:
    hashed = cheap_hash if mode == "basic" else hash_token
    lines = [
        f"alice commands {hashed(TOKEN)}",
        f"bob counts {hashed('bobs')}",
        f"tokenful names {hash_token(OTHER)}" if mode == "basic" else "",
        "proxied names -",
        f"gone commands {hashed(GONE)}" if gone else "",
    ]
    path.write_text("\n".join(lines) + "\n")


@asynccontextmanager
async def guarded(viewers: Path, mode: str, **more: Any) -> AsyncIterator[House]:
    """A house that shows host a, in a mode of SETTINGS; the viewer `gone` still exists."""
    write(viewers, mode)
    own = {"viewers": str(viewers)} if mode != "none" else {}
    chosen = {"rpc_timeout": 30.0, "base_path": "/gpus", **SETTINGS[mode], **own, **more}
    async with web_house(KEY.get(mode), **chosen) as house:
        if mode in KEY or mode == "none":
            await house.show(a=make_host())
        yield house


async def remove_gone(house: House, viewers: Path, mode: str) -> None:
    """Remove the viewer `gone`, and wait until the server has noticed."""
    write(viewers, mode, gone=False)
    headers = {
        "token": {"Authorization": f"Bearer {GONE}"},
        "basic": {"Authorization": basic("gone", GONE)},
        "proxy": {USER: "gone"},
    }.get(mode)
    if headers is not None:
        own = {"Authorization": ""} | headers if mode == "proxy" else headers

        async def refused() -> bool:
            return await ask(house, "readyz", tuple(own.items())) in CLOSED

        await wait_for(refused)


numbers = iter(range(1, 1 << 16))


async def ask(house: House, path: str, headers: Headers, method: str = "GET") -> int:
    """The status of a request from an address of its own."""
    number = next(numbers)
    lines = [f"{method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    names = {name for name, _ in headers}
    if "Host" not in names:
        lines.append("Host: x")
    if "Connection" not in names:
        lines.append("Connection: close")
    if "X-Forwarded-For" not in names:
        lines.append(f"X-Forwarded-For: 10.{number >> 8}.{number & 255}.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status = await reader.readline()
    writer.close()
    return int(status.split(b" ")[1])


def handshake(protocol: str) -> Headers:
    offer = (("Sec-WebSocket-Protocol", protocol),) if protocol else ()
    return (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
        *offer,
    )


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
async def test_exactly_the_signed_in_are_answered(mode: str, viewers: Path) -> None:
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


def test_a_removed_viewer_is_noticed_within_five_seconds() -> None:
    assert TICKS_PER_ACCOUNTS_POLL * HUB_TICK_SECONDS + CLOSING_SECONDS < 5


@pytest.mark.parametrize("mode", ["token", "basic", "proxy"])
async def test_a_removed_viewer_loses_open_websockets(mode: str, viewers: Path) -> None:
    async with guarded(viewers, mode) as house:
        keys = {
            "token": {"Authorization": f"Bearer {GONE}"},
            "basic": {"Authorization": basic("gone", GONE)},
            "proxy": {USER: "gone"},
        }
        async with (
            house.watch() as staying,
            house.watch(headers=keys[mode]) as leaving,
        ):
            await leaving.receive(timeout=PATIENCE_SECONDS)
            write(viewers, mode, gone=False)
            while (await leaving.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert leaving.close_code == 1008
            assert (await staying.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT


async def test_a_file_that_becomes_unusable_closes_every_websocket(viewers: Path) -> None:
    async with guarded(viewers, "token") as house, house.watch() as socket:
        await socket.receive(timeout=PATIENCE_SECONDS)
        viewers.chmod(0o644)
        while (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1008
        assert await ask(house, "readyz", tuple(KEY["token"].items())) == 401


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


ONE_BURST = WebLimits(seconds_per_guess=3600.0)
"""No further guess is granted while a test runs, however slow the machine."""


async def test_an_address_that_guesses_passwords_has_to_wait_and_others_do_not(
    viewers: Path,
) -> None:
    async with guarded(viewers, "basic", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.7")
        wrong = ("Authorization", basic("alice", "wrong"))
        answers = [await ask(house, "readyz", (here, wrong)) for _ in range(12)]
        assert answers == [401] * 10 + [429] * 2
        fresh = ("Authorization", basic("bob", "bobs"))
        known = ("Authorization", basic("alice", TOKEN))
        assert await ask(house, "readyz", (here, fresh)) == 429
        assert await ask(house, "readyz", (here, known)) == 200
        assert await ask(house, "readyz", (fresh,)) == 200


async def test_guessing_in_parallel_does_not_help(viewers: Path) -> None:
    async with guarded(viewers, "basic", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.8")
        tries = [
            ask(house, "readyz", (here, ("Authorization", basic("alice", str(n)))))
            for n in range(50)
        ]
        answers = await asyncio.gather(*tries)
        assert answers.count(401) == 10 and answers.count(429) == 40


async def test_a_right_token_never_has_to_wait(viewers: Path) -> None:
    async with guarded(viewers, "token", limits=ONE_BURST) as house:
        here = ("X-Forwarded-For", "198.51.100.9")
        wrong = ("Authorization", "Bearer wrong")
        answers = [await ask(house, "readyz", (here, wrong)) for _ in range(12)]
        assert answers == [401] * 10 + [429] * 2
        right = ("Authorization", f"Bearer {TOKEN}")
        assert await ask(house, "readyz", (here, right)) == 200


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


# Tickets keep other sites' pages away.

ORIGIN = {"Origin": "https://evil.example"}


async def ticket(house: House) -> str:
    answer = (await house.get("api/v1/ticket"))[1]
    return f"gpu-monitor.ticket.{answer['ticket']}"


async def refused(house: House, *protocols: str, **headers: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await house.client.ws_connect(
            house.root + "ws", protocols=protocols, headers={**ORIGIN, **headers}
        )
    return error.value.status


@pytest.mark.parametrize("mode", ["none", "token", "basic", "proxy"])
async def test_a_handshake_with_an_origin_needs_a_ticket_valid_once(
    mode: str, viewers: Path
) -> None:
    async with guarded(viewers, mode) as house:
        assert await refused(house) == 403
        assert await refused(house, "gpu-monitor.ticket.forged") == 403
        for protocol in ENCODINGS:
            own = await ticket(house)
            offered = (protocol, own)
            async with house.client.ws_connect(
                house.root + "ws", protocols=offered, headers=ORIGIN
            ) as socket:
                assert socket.protocol == protocol
                assert await Follower(socket, protocol).receive()
            assert await refused(house, protocol, own) == 403


async def test_an_allowed_origin_needs_a_sign_in_but_no_ticket(viewers: Path) -> None:
    origins = ("https://Wiki.example",)
    async with guarded(viewers, "token", allowed_origins=origins) as house:
        headers = {"Origin": "https://wiki.example"}
        async with house.client.ws_connect(house.root + "ws", headers=headers) as socket:
            assert (await socket.receive(timeout=PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT
        assert await refused(house) == 403
        assert await refused(house, Origin="null") == 403
        assert await refused(house, Origin="https://wiki.example.evil.example") == 403
        unsigned = tuple(headers.items())
        assert await ask(house, "ws", (*unsigned, *handshake(""))) == 401


@pytest.mark.parametrize("mode", ["token", "basic"])
async def test_a_ticket_identifies_a_browser_that_sends_no_password(
    mode: str, viewers: Path
) -> None:
    async with guarded(viewers, mode) as house:
        own = await ticket(house)
        assert await ask(house, "ws", handshake(f"gpu-monitor.v1.json, {own}")) == 101
        assert await ask(house, "ws", handshake(f"gpu-monitor.v1.json, {own}")) == 401


async def test_a_ticket_does_not_replace_the_proxy(viewers: Path) -> None:
    async with guarded(viewers, "proxy") as house:
        own = await ticket(house)
        assert await ask(house, "ws", handshake(f"gpu-monitor.v1.json, {own}")) == 401


async def test_the_ticket_of_a_removed_viewer_is_void(viewers: Path) -> None:
    async with guarded(viewers, "token") as house:
        key = {"Authorization": f"Bearer {GONE}"}
        answer = (await house.get("api/v1/ticket", headers=key))[1]["ticket"]
        await remove_gone(house, viewers, "token")
        offer = handshake(f"gpu-monitor.v1.json, gpu-monitor.ticket.{answer}")
        assert await ask(house, "ws", offer) == 401


@pytest.mark.parametrize(("site", "status"), [("same-origin", 200), ("none", 200), ("", 200)])
async def test_the_page_itself_can_fetch_a_ticket(site: str, status: int) -> None:
    async with web_house() as house:
        headers = {"Sec-Fetch-Site": site} if site else {}
        async with house.client.get(house.root + "api/v1/ticket", headers=headers) as answer:
            assert answer.status == status
            assert answer.headers["Cache-Control"] == "no-store"
            assert not any(name.startswith("Access-Control") for name in answer.headers)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "rubbish"])
async def test_another_site_s_page_cannot_fetch_a_ticket(site: str) -> None:
    async with web_house() as house:
        answer = await house.get("api/v1/ticket", headers={"Sec-Fetch-Site": site})
        assert answer[0] == 403


def presenting(ticket: str) -> Any:
    """A handshake that presents this ticket."""
    headers = {"Sec-WebSocket-Protocol": f"a, gpu-monitor.ticket.{ticket}"}
    return make_mocked_request("GET", "/ws", headers=headers)


def test_a_ticket_is_valid_once_and_for_ten_seconds() -> None:
    now = 0.0
    tickets = Tickets(lambda: now)
    alice = Person("alice", "names")
    first, second = tickets.issue(alice), tickets.issue(alice)
    now = TICKET_SECONDS - 0.1
    assert tickets.redeem(presenting(first)) == alice
    assert tickets.redeem(presenting(first)) is None
    now = TICKET_SECONDS
    assert tickets.redeem(presenting(second)) is None


def test_the_number_of_tickets_is_limited_and_expired_ones_are_dropped() -> None:
    now = 0.0
    tickets = Tickets(lambda: now, max_tickets=5)
    alice = Person("alice", "names")
    for _ in range(20):
        tickets.issue(alice)
    assert len(tickets) == 5
    now = TICKET_SECONDS
    tickets.issue(alice)
    assert len(tickets) == 1
