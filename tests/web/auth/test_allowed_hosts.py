"""No site can make its own name mean this server: every Host, in every way of signing in."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth.allowed_hosts import ASK_AGAIN_SECONDS, Names, split
from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.errors import Wrong
from tests.support.house import House
from tests.support.web_house import make_host, wait_for, web_house
from tests.web.auth.test_sign_in import KEY, OPEN, all_requests, ask, guarded

OWN = os.uname().nodename
SHORT = OWN.partition(".")[0]
KNOWN = [
    *("127.0.0.1:{port}", "10.1.2.3:{port}", "[::1]:{port}", "[2001:DB8::1]:{port}", "127.0.0.1"),
    *("localhost:{port}", "LocalHost.:{port}", "localhost:9999", "localhost", "a.localhost:{port}"),
    *(f"{OWN}:{{port}}", f"{OWN.upper()}.:{{port}}", f"{SHORT}:9999", f"{SHORT}.local:{{port}}"),
    *("alias.example:{port}", "ALIAS.example.:{port}", "alias.example"),
]
PASSED_ON = ["gpus.example.org", "gpus.example.org:443", "gpus.example.org:8080", ""]
"""As a proxy passes it on that listens on another port, which it must on the same machine."""
OTHERS = [
    *("evil.example:{port}", "evil.example.:{port}", "evil.example:0{port}", "evil:{port}"),
    *("localhost.evil.example:{port}", "evil-localhost:{port}", f"{OWN}.evil.example:{{port}}"),
    *("127.0.0.1.evil.example:{port}", "127.0.0.1@evil.example:{port}", "evil.local:{port}"),
    *("[::1]evil.example:{port}", "[evil.example]:{port}", "evil.example:{port}:{port}"),
    *("127.0.0.1%evil.example:{port}", "2130706433:{port}", "x.alias.example:{port}", ":{port}"),
]


@pytest.fixture
def viewers(tmp_path: Path) -> Path:
    """A file for those who may sign in, yet to be written."""
    path = tmp_path / "viewers"
    path.touch(0o600)
    return path


async def statuses(house: Any, hosts: list[str], *headers: tuple[str, str]) -> dict[str, int]:
    """What `readyz` answers to each Host."""
    asked = [(("Host", host.format(port=house.port)), *headers) for host in hosts]
    answers = await asyncio.gather(*(ask(house, "readyz", one) for one in asked))
    return dict(zip(hosts, answers, strict=True))


@pytest.mark.parametrize("mode", ["none", "token", "basic", "proxy"])
async def test_where_no_secret_is_sent_only_own_names_are_answered(
    mode: str, viewers: Path
) -> None:
    async with guarded(viewers, mode, web_hosts=("alias.example",)) as house:
        key = tuple(KEY.get(mode, {}).items())
        expected = dict.fromkeys([*KNOWN, *PASSED_ON], 200)
        expected |= dict.fromkeys(OTHERS, 421 if mode in ("none", "proxy") else 200)
        assert await statuses(house, list(expected), *key) == expected


@pytest.mark.parametrize("trusted", [(), ("198.51.100.1",)])
async def test_of_a_peer_that_is_no_trusted_proxy_every_name_has_to_be_known(
    trusted: tuple[str, ...],
) -> None:
    async with web_house(web_hosts=("alias.example",), trusted_proxies=trusted) as house:
        await house.show(a=make_host())
        expected = dict.fromkeys(KNOWN, 200) | dict.fromkeys([*PASSED_ON, *OTHERS], 421)
        assert await statuses(house, list(expected)) == expected


async def test_what_a_page_can_add_to_a_request_does_not_help_it() -> None:
    forged = [
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Host", "localhost"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "198.51.100.7"),
        ("Forwarded", "host=localhost"),
    ]
    async with web_house() as house:
        await house.show(a=make_host())
        assert set((await statuses(house, OTHERS, *forged)).values()) == {421}


async def test_one_right_name_of_two_is_not_enough() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        two = ("Host", f"localhost:{house.port}"), ("Host", f"evil.example:{house.port}")
        assert await ask(house, "readyz", two) in (400, 421)
        assert await ask(house, "readyz", two[::-1]) in (400, 421)


async def test_another_name_opens_no_path_and_no_websocket(viewers: Path) -> None:
    async with guarded(viewers, "none") as house:
        evil = ("Host", f"evil.example:{house.port}")
        requests = all_requests((evil,))
        answers = await asyncio.gather(*(ask(house, *request) for request in requests))
        assert set(answers) == {421}
        assert [await ask(house, path, (evil,)) for path in OPEN] == [200, 200, 302]


async def test_a_client_that_names_no_host_is_no_browser() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


async def test_a_refusal_names_the_key_in_json_and_to_a_browser_in_plain_text() -> None:
    async with web_house() as house:
        headers = {"Host": f"evil.example:{house.port}"}
        status, told = await house.get("api/v1/fleet", headers=headers)
        assert (status, told["error"]) == (421, "'evil.example' is no name of this server")
        assert "write it under web_hosts in config.yml" in told["hint"]
        headers["Accept"] = "text/html,*/*;q=0.8"
        async with house.client.get(house.root, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (421, "text/plain")
            assert answer.headers["Cache-Control"] == "no-store"
            assert await answer.text() == f"{told['error']}\n{told['hint']}\n"


def asking(host: str) -> Any:
    """A request to port 8042 from the network."""

    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"sockname": ("192.0.2.1", 8042), "peername": ("192.0.2.9", 1)}.get(
                name, default
            )

    return make_mocked_request("GET", "/", headers={"Host": host}, transport=Transport())


def answers(names: Names, host: str) -> bool:
    try:
        names.check(asking(host))
    except Wrong as wrong:
        assert wrong.status == 421
        return False
    return True


async def test_the_full_name_is_known_as_soon_as_the_name_service_tells_it() -> None:
    names = Names((), Peers(()), lambda: 0.0, lambda: "GPU1.lab.example.")
    await wait_for(lambda: answers(names, "gpu1.lab.example:8042"))
    assert not answers(names, "gpu2.lab.example:8042")


async def test_a_name_service_that_knows_nothing_is_asked_again_when_a_name_is_refused() -> None:
    now = 0.0
    told = iter(["gpu1", "gpu1.lab.example"])
    names = Names((), Peers(()), lambda: now, lambda: next(told))
    await wait_for(lambda: answers(names, "gpu1:8042"))
    assert not answers(names, "gpu1.lab.example:8042")
    now = ASK_AGAIN_SECONDS
    assert not answers(names, "gpu1.lab.example:8042")
    await wait_for(lambda: answers(names, "gpu1.lab.example:8042"))


@given(st.text(max_size=40))
def test_any_text_is_split_or_has_no_port(host: str) -> None:
    name, port = split(host)
    assert name is not None and (port is None or 0 <= port <= 99_999)


def get(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_command_answers_to_its_own_names_and_to_those_of_config_yml(house: House) -> None:
    house.start("up", name="node1", rpc_timeout=30, web_hosts=["gpus.example.org"])
    house.host("node1")
    port = house.web_port
    for name in ("localhost", OWN, "node1", "gpus.example.org"):
        assert get(house.url + "readyz", Host=f"{name}:{port}") == (200, {"status": "ready"})
    status, told = get(house.url + "api/v1/users", Host=f"evil.example:{port}")
    assert (status, told.keys()) == (421, {"error", "hint"})
