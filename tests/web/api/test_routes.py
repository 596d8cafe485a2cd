"""Every path of the API, its errors, and its responses while the broker is lost."""

import asyncio
import json
from typing import Any

import pytest

from gpu_monitor.web.api.free_gpus import Wanted
from gpu_monitor.web.api.free_query import parse_wanted
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.wire import broker_link
from tests.support.web_house import SILENCE, make_fleet, make_host, web_house

DATA_PATHS = ["readyz", "api/v1/hosts/a", "api/v1/users", "api/v1/free"]


async def test_a_process_is_healthy_without_a_broker() -> None:
    async with web_house() as house:
        assert await house.get("healthz") == (200, {"status": "ok"})


@pytest.mark.parametrize("path", DATA_PATHS)
async def test_without_a_broker_data_is_refused_with_503_and_the_reason(path: str) -> None:
    async with web_house() as house:
        status, answer = await house.get(path)
        assert status == 503
        assert "the broker has been silent since the start" in answer["error"]
        assert "broker" in answer["hint"]


async def test_the_server_is_ready_once_the_broker_is_connected() -> None:
    async with web_house() as house:
        await house.show()
        assert await house.get("readyz") == (200, {"status": "ready"})


async def test_the_server_is_not_ready_once_the_broker_falls_silent() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        answer = await house.until("readyz", lambda status, _: status == 503)
        assert answer["error"].startswith("the broker has been silent for")
        for path in ("api/v1/free", "api/v1/users"):
            assert (await house.get(path))[0] == 503


async def test_the_fleet_is_the_whole_document() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        status, fleet = await house.get("api/v1/fleet")
        web = fleet.pop("web")
        assert (status, fleet) == (200, make_fleet(a=make_host()))
        assert web.keys() == {"version", "assets", "role"}


async def test_the_fleet_shows_that_its_broker_is_lost() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        fleet = await house.until("api/v1/fleet", lambda _, f: f["broker"]["state"] == "lost")
        assert fleet["broker"]["heard_at"] == fleet["now"] == 1000.0
        assert fleet["hosts"] == {"a": make_host()}


async def test_one_host_is_found_by_name() -> None:
    async with web_house() as house:
        await house.show(a=make_host(), b=make_host(8))
        assert await house.get("api/v1/hosts/b") == (200, make_host(8))


async def test_an_unknown_host_is_not_found() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        status, answer = await house.get("api/v1/hosts/nobody")
        assert (status, answer["error"]) == (404, "unknown host 'nobody'")


async def test_no_host_is_live_while_the_broker_is_lost() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        host = await house.until("api/v1/hosts/a", lambda _, host: host["state"] != "live")
        assert host == make_host(state="stale")


async def test_users_are_those_of_the_document() -> None:
    async with web_house() as house:
        await house.show()
        assert await house.get("api/v1/users") == (200, {"alice": {"gpus": 1}})


async def test_free_gpus_are_offered_with_a_value_for_cuda_visible_devices() -> None:
    async with web_house() as house:
        await house.show(a=make_host(8), b=make_host(2, 6), c=make_host(1))
        query = {"gpus": "2", "memory_gib": "40", "model": "h100"}
        status, answer = await house.get("api/v1/free", params=query)
        assert status == 200
        assert [host["host"] for host in answer["hosts"]] == ["b", "a"]
        assert answer["hosts"][0]["cuda_visible_devices"] == "GPU-0,GPU-1"
        assert answer["hosts"][0]["gpus"][0]["memory_free_mib"] == 81920
        assert answer["hosts"][0]["gpus"][0]["unhealthy"] is False


async def test_an_unhealthy_gpu_is_offered_last_and_marked() -> None:
    ill = make_host(1)
    ill["gpus"]["health_reasons"] = [["SECRET-words"]]
    async with web_house(viewer_role="counts") as house:
        await house.show(a=ill, b=make_host(1, 1))
        _, answer = await house.get("api/v1/free")
    assert [host["host"] for host in answer["hosts"]] == ["b", "a"]
    assert [host["gpus"][0]["unhealthy"] for host in answer["hosts"]] == [False, True]
    assert "SECRET" not in str(answer)


async def test_free_gpus_as_text_are_one_line_per_host() -> None:
    async with web_house() as house:
        await house.show(a=make_host(2), b=make_host(1))
        path = house.root + "api/v1/free?gpus=1"
        async with house.client.get(path, headers={"Accept": "text/plain"}) as response:
            assert response.content_type == "text/plain"
            assert response.headers["Cache-Control"] == "no-store"
            assert await response.text() == "b GPU-0\na GPU-0\n"


@pytest.mark.parametrize(
    "query",
    [
        {"gpus": "0"},
        {"gpus": "65"},
        {"gpus": "two"},
        {"gpus": "-1"},
        {"gpus": "²"},
        {"gpus": ""},
        {"gpus": "9" * 5000},
        {"memory_gib": "much"},
        {"memory_gib": "nan"},
        {"memory_gib": "inf"},
        {"memory_gib": "-1"},
        {"memory_gib": "1e400"},
        {"model": "x" * 201},
        {"cpus": "1"},
    ],
)
def test_an_invalid_parameter_is_named_with_a_hint(query: dict[str, str]) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_wanted(query)
    assert refused.value.status == 400
    assert next(iter(query)) in refused.value.error
    assert len(refused.value.error) < 100
    assert refused.value.hint


def test_parameters_have_defaults_and_memory_may_be_fractional() -> None:
    assert parse_wanted({}) == Wanted(gpus=1, memory_gib=0.0, model="")
    assert parse_wanted({"gpus": "8", "memory_gib": "39.5"}) == Wanted(8, 39.5)


async def test_an_invalid_parameter_is_answered_with_400() -> None:
    async with web_house() as house:
        status, answer = await house.get("api/v1/free?gpus=no")
        assert status == 400
        assert answer == {
            "error": "gpus must be 1 to 64, not 'no'",
            "hint": "write for example gpus=2",
        }


@pytest.mark.parametrize("accepted", ["gzip", "deflate", "identity"])
async def test_a_large_response_is_compressed_as_the_client_accepts(accepted: str) -> None:
    async with web_house() as house:
        hosts: dict[str, Any] = {f"node{n}": make_host(8) for n in range(100)}
        await house.show(**hosts)
        headers = {"Accept-Encoding": accepted}
        async with house.client.get(house.root + "api/v1/fleet", headers=headers) as response:
            encoding = response.headers.get("Content-Encoding", "identity")
            fleet = json.loads(await response.read())
        assert encoding == accepted
        assert fleet["hosts"] == hosts


@pytest.mark.parametrize(("path", "name"), [("api/v1/recent", ""), ("api/v1/hosts/a/recent", "a")])
async def test_the_broker_provides_the_last_hour(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_link, "ANSWER_SECONDS", 60.0)
    async with web_house() as house:
        await house.show(a=make_host())
        pending = asyncio.ensure_future(house.get(path))
        topic = await house.broker.next_recent_request()
        assert topic.decode().split("/")[2] == name
        house.broker.send_recent(topic, {"until": 60})
        assert await pending == (200, {"until": 60})


async def test_a_host_that_never_reported_has_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_link, "ANSWER_SECONDS", 60.0)
    async with web_house() as house:
        await house.show(a={"state": "missing"})
        pending = asyncio.ensure_future(house.get("api/v1/hosts/a/recent"))
        house.broker.send_recent(await house.broker.next_recent_request(), None)
        assert (await pending)[0] == 404
        assert (await house.get("api/v1/hosts/other/recent"))[0] == 404


async def test_a_broker_without_history_is_reported() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        status, answer = await house.get("api/v1/hosts/a/recent")
        assert status == 503 and answer["error"] == "the broker has no history"


async def test_the_document_changes_with_each_patch() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        house.broker.send_patch({"hosts": {"a": {"state": "stale"}}})
        await house.until("api/v1/fleet", lambda _, f: f["hosts"]["a"]["state"] == "stale")
