"""DNS rebinding: which Host headers are answered, in every way of signing in."""

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

from gpu_monitor.web.auth.allowed_hosts import OWN_NAME_RETRY_SECONDS, AllowedHosts, split
from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.errors import RequestRefused
from tests.support.guarded_house import KEY, ask, guarded
from tests.support.house import House
from tests.support.web_house import make_host, wait_for, web_house
from tests.web.auth.test_sign_in import OPEN, all_requests

OWN = os.uname().nodename
SHORT = OWN.partition(".")[0]
KNOWN = [
    *("127.0.0.1:{port}", "10.1.2.3:{port}", "[::1]:{port}", "[2001:DB8::1]:{port}", "127.0.0.1"),
    *("localhost:{port}", "LocalHost.:{port}", "localhost:9999", "localhost", "a.localhost:{port}"),
    *(f"{OWN}:{{port}}", f"{OWN.upper()}.:{{port}}", f"{SHORT}:9999", f"{SHORT}.local:{{port}}"),
    *("alias.example:{port}", "ALIAS.example.:{port}", "alias.example"),
]
PASSED_ON = ["gpus.example.org", "gpus.example.org:443", "gpus.example.org:8080", ""]
"""Passed on by a proxy, which on the same machine must listen on another port."""
OTHERS = [
    *("evil.example:{port}", "evil.example.:{port}", "evil.example:0{port}", "evil:{port}"),
    *("localhost.evil.example:{port}", "evil-localhost:{port}", f"{OWN}.evil.example:{{port}}"),
    *("127.0.0.1.evil.example:{port}", "127.0.0.1@evil.example:{port}", "evil.local:{port}"),
    *("[::1]evil.example:{port}", "[evil.example]:{port}", "evil.example:{port}:{port}"),
    *("127.0.0.1%evil.example:{port}", "2130706433:{port}", "x.alias.example:{port}", ":{port}"),
]


async def statuses(house: Any, hosts: list[str], *headers: tuple[str, str]) -> dict[str, int]:
    """The status of `readyz` for each Host."""
    sent = [(("Host", host.format(port=house.port)), *headers) for host in hosts]
    answers = await asyncio.gather(*(ask(house, "readyz", one) for one in sent))
    return dict(zip(hosts, answers, strict=True))


@pytest.mark.parametrize("mode", ["none", "token", "basic", "proxy"])
async def test_without_a_secret_only_the_servers_own_names_are_answered(
    mode: str, viewers: Path
) -> None:
    async with guarded(viewers, mode, web_hosts=("alias.example",)) as house:
        key = tuple(KEY.get(mode, {}).items())
        expected = dict.fromkeys([*KNOWN, *PASSED_ON], 200)
        expected |= dict.fromkeys(OTHERS, 421 if mode in ("none", "proxy") else 200)
        assert await statuses(house, list(expected), *key) == expected


@pytest.mark.parametrize("trusted", [(), ("198.51.100.1",)])
async def test_clients_other_than_trusted_proxies_must_use_a_known_name(
    trusted: tuple[str, ...],
) -> None:
    async with web_house(web_hosts=("alias.example",), trusted_proxies=trusted) as house:
        await house.show(a=make_host())
        expected = dict.fromkeys(KNOWN, 200) | dict.fromkeys([*PASSED_ON, *OTHERS], 421)
        assert await statuses(house, list(expected)) == expected


async def test_headers_that_a_page_can_add_make_no_difference() -> None:
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


async def test_of_two_names_both_must_be_known() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        two = ("Host", f"localhost:{house.port}"), ("Host", f"evil.example:{house.port}")
        assert await ask(house, "readyz", two) in (400, 421)
        assert await ask(house, "readyz", two[::-1]) in (400, 421)


async def test_an_unknown_name_opens_no_path_and_no_websocket(viewers: Path) -> None:
    async with guarded(viewers, "none") as house:
        evil = ("Host", f"evil.example:{house.port}")
        requests = all_requests((evil,))
        answers = await asyncio.gather(*(ask(house, *request) for request in requests))
        assert set(answers) == {421}
        assert [await ask(house, path, (evil,)) for path in OPEN] == [200, 200, 302]


async def test_a_client_without_a_host_header_is_answered() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


async def test_a_refusal_names_the_setting_as_json_and_to_browsers_as_text() -> None:
    async with web_house() as house:
        headers = {"Host": f"evil.example:{house.port}"}
        status, body = await house.get("api/v1/fleet", headers=headers)
        assert (status, body["error"]) == (421, "'evil.example' is not a name of this server")
        assert "add it to web_hosts in config.yml" in body["hint"]
        headers["Accept"] = "text/html,*/*;q=0.8"
        async with house.client.get(house.root, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (421, "text/plain")
            assert answer.headers["Cache-Control"] == "no-store"
            assert await answer.text() == f"{body['error']}\n{body['hint']}\n"


def request_to(host: str) -> Any:
    """A request to port 8042 from the network."""

    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"sockname": ("192.0.2.1", 8042), "peername": ("192.0.2.9", 1)}.get(
                name, default
            )

    return make_mocked_request("GET", "/", headers={"Host": host}, transport=Transport())


def answers(hosts: AllowedHosts, host: str) -> bool:
    try:
        hosts.check(request_to(host))
    except RequestRefused as refused:
        assert refused.status == 421
        return False
    return True


async def test_the_full_name_is_allowed_once_it_is_resolved() -> None:
    hosts = AllowedHosts((), TrustedProxies(()), lambda: 0.0, lambda: "GPU1.lab.example.")
    await wait_for(lambda: answers(hosts, "gpu1.lab.example:8042"))
    assert not answers(hosts, "gpu2.lab.example:8042")


async def test_the_full_name_is_resolved_again_when_a_name_is_refused() -> None:
    now = 0.0
    resolved = iter(["gpu1", "gpu1.lab.example"])
    hosts = AllowedHosts((), TrustedProxies(()), lambda: now, lambda: next(resolved))
    await wait_for(lambda: answers(hosts, "gpu1:8042"))
    assert not answers(hosts, "gpu1.lab.example:8042")
    now = OWN_NAME_RETRY_SECONDS
    assert not answers(hosts, "gpu1.lab.example:8042")
    await wait_for(lambda: answers(hosts, "gpu1.lab.example:8042"))


@given(st.text(max_size=40))
def test_any_host_header_can_be_split(host: str) -> None:
    name, port = split(host)
    assert name is not None and (port is None or 0 <= port <= 99_999)


def get(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_command_answers_to_its_own_names_and_those_in_config_yml(house: House) -> None:
    house.start("up", name="node1", rpc_timeout=30, web_hosts=["gpus.example.org"])
    house.host("node1")
    port = house.web_port
    for name in ("localhost", OWN, "node1", "gpus.example.org"):
        assert get(house.url + "readyz", Host=f"{name}:{port}") == (200, {"status": "ready"})
    status, body = get(house.url + "api/v1/users", Host=f"evil.example:{port}")
    assert (status, body.keys()) == (421, {"error", "hint"})
