"""Tickets keep the pages of other sites away, and identify a browser that sends no password."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.auth.tickets import TICKET_SECONDS, Tickets
from gpu_monitor.web.stream.encodings import ENCODINGS
from tests.support.guarded_house import GONE, ask, guarded, handshake, remove_gone
from tests.support.web_house import (
    PATIENCE_SECONDS,
    Follower,
    House,
    web_house,
)

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
