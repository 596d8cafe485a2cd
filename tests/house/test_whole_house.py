"""From NVML to a websocket, with the commands in one process or in three."""

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import WORKING_GPU
from tests.fake_nvml import Call, FakeNvml, Gpu, Process, Scenario
from tests.fake_nvml.scenario import N_A
from tests.support.house import PATIENCE_SECONDS, ROOT, House, eventually, running


def start_three(house: House, **keys: Any) -> None:
    house.start("broker", **keys)
    house.start("web", **keys)
    house.start("collector", name="node1", **keys)


def test_in_one_process_nvml_reaches_the_api(house: House) -> None:
    house.start("up", name="node1")
    host = house.host("node1")
    assert host["gpus"]["utilization_percent"] == [87, 0]
    assert host["gpus"]["use"] == ["busy", "free"]
    assert host["processes"]["pid"] == [house.running["up"].pid]
    assert house.stop("up") == 0


UNREADABLE = [
    Call(f"nvmlDeviceGet{kind}RunningProcesses*", error="NOT_SUPPORTED", gpu=4)
    for kind in ("Compute", "MPSCompute", "Graphics")
] + [Call("nvmlDeviceGetUtilizationRates", error="NOT_SUPPORTED", gpu=4)]


@pytest.fixture
def mps_server(processes: None) -> Iterator[int]:
    """The pid of a process that is called as the server of MPS."""
    with running("nvidia-cuda-mps-server", "600", executable="/bin/sleep") as server:
        cmdline = Path(f"/proc/{server.pid}/cmdline")
        eventually(lambda: cmdline.read_bytes().startswith(b"nvidia"), "the server to run")
        yield server.pid


def test_only_what_a_job_can_start_on_is_handed_out(
    house: House, fake_nvml: FakeNvml, mps_server: int
) -> None:
    gpus = {
        "free": Gpu(),
        "prohibited": Gpu(compute_mode=2),
        "without slices": Gpu(mig_mode=1),
        "hidden work": Gpu(utilization_percent=98),
        "unreadable": Gpu(memory_total_mib=N_A),
        "pages in use": Gpu(numa_node=1, memory_used_mib=70_000),
        "failed": Gpu(remapped_failed=1),
        "MPS server": Gpu(processes=[Process(mps_server, memory_mib=700)]),
    }
    fake_nvml.write(Scenario([*gpus.values()], calls=UNREADABLE))
    house.start("up", name="node1")
    found = house.host("node1")["gpus"]
    use = dict(zip(gpus, found["use"], strict=True))
    assert {name for name in use if use[name] == "free"} == {"free", "pages in use", "MPS server"}
    assert {name for name in use if use[name] == "busy"} == {"hidden work"}
    assert [reason is None for reason in found["use_reason"]] == [
        each == "free" for each in use.values()
    ]
    (offer,) = house.get("api/v1/free?gpus=3&memory_gib=60")["hosts"]
    assert [gpu["index"] for gpu in offer["gpus"]] == [0, 5, 7]
    assert house.get("api/v1/free?gpus=4")["hosts"] == []


def test_every_total_and_every_field_of_a_user_is_explained(house: House) -> None:
    house.start("up", name="node1")
    house.host("node1")
    fleet = house.get("api/v1/fleet")
    user = next(iter(fleet["users"].values()))
    page = (ROOT / "docs" / "protocol.md").read_text()
    assert [name for name in {**fleet["totals"], **user} if f"`{name}`" not in page] == []


def test_the_last_hour_of_a_host_and_of_the_totals_can_be_fetched(house: House) -> None:
    house.start("up", name="node1")
    host = house.host("node1")
    recent = house.get("api/v1/hosts/node1/recent")
    assert recent["uuid"] == host["gpus"]["uuid"]
    assert [newest(minutes) for minutes in recent["utilization_percent"]] == [87, 0]
    totals = house.get("api/v1/recent")
    assert len(totals["power_watts"]) == 60 and newest(totals["power_watts"]) == 140


def newest(minutes: list[int | None]) -> int | None:
    """The last value; the current minute may not have one yet."""
    return [value for value in minutes if value is not None][-1]


def test_a_broker_has_no_history_from_before_its_start(house: House) -> None:
    house.start("up", name="node1")
    house.host("node1")
    totals, host = house.get("api/v1/recent"), house.get("api/v1/hosts/node1/recent")
    for minutes in (totals["power_watts"], *host["utilization_percent"]):
        assert minutes[:58] == [None] * 58  # the broker may have started in the previous minute


def test_in_three_processes_nvml_reaches_the_api(house: House) -> None:
    start_three(house)
    host = house.host("node1")
    assert host["gpus"]["utilization_percent"] == [87, 0]
    assert [house.stop(role) for role in ("collector", "web", "broker")] == [0, 0, 0]


def test_a_change_on_the_gpu_reaches_a_websocket_as_a_patch(
    house: House, fake_nvml: FakeNvml
) -> None:
    async def follow() -> list[int]:
        async with aiohttp.ClientSession() as http, http.ws_connect(house.url + "ws") as socket:
            first = await socket.receive_json(timeout=PATIENCE_SECONDS)
            assert first["fleet"]["hosts"]["node1"]["gpus"]["utilization_percent"] == [87, 0]
            fake_nvml.write(Scenario(gpus=[WORKING_GPU, Gpu(utilization_percent=55)]))
            while True:
                message = await socket.receive_json(timeout=PATIENCE_SECONDS)
                gpus = message["patch"].get("hosts", {}).get("node1", {}).get("gpus", {})
                if "utilization_percent" in gpus:
                    values: list[int] = gpus["utilization_percent"]
                    return values

    house.start("up", name="node1")
    house.host("node1")
    assert asyncio.run(follow()) == [87, 55]


def test_a_killed_collector_leaves_a_stale_host_outside_the_totals(house: House) -> None:
    start_three(house)
    house.host("node1")
    house.stop("collector", by=signal.SIGKILL)
    host = house.host("node1", "stale")
    totals = house.get("api/v1/fleet")["totals"]
    assert host["gpus"]["utilization_percent"] == [87, 0]
    assert host["gpus"]["use"] == [None, None]
    assert (totals["hosts_stale"], totals["gpus"], totals["gpus_free"]) == (1, 0, 0)


def test_a_killed_broker_is_reported_and_a_new_one_followed_without_a_restart(house: House) -> None:
    start_three(house)
    house.host("node1")
    house.stop("broker", by=signal.SIGKILL)
    eventually(lambda: house.get("api/v1/fleet")["broker"]["state"] == "lost", "broker lost")
    assert house.get("readyz") is None
    house.start("broker")
    house.host("node1")
    eventually(lambda: house.get("api/v1/fleet")["broker"]["state"] == "live", "broker live")


def test_a_restarted_web_server_shows_the_fleet_again(house: House) -> None:
    start_three(house)
    house.host("node1")
    assert house.stop("web") == 0
    house.start("web")
    house.host("node1")


def test_a_configured_host_that_never_reported_is_missing(house: House) -> None:
    start_three(house, hosts=["localhost", "203.0.113.7"], rpc_bind="127.0.0.1")
    house.host("localhost")
    assert house.host("203.0.113.7", "missing") == {"state": "missing"}


def test_two_collectors_under_one_name_are_a_conflict_with_steady_values(house: House) -> None:
    start_three(house)
    house.host("node1")
    house.start("collector", title="second", name="node1")
    host = house.host("node1", "conflict")
    assert host["findings"]["kind"][0] == "conflict"
    assert "two collectors" in host["findings"]["words"][0]
    house.stop("second")
    house.host("node1")


def test_a_lost_gpu_and_a_hung_call_leave_the_other_gpus_alone(
    house: House, fake_nvml: FakeNvml
) -> None:
    house.start("up", name="node1")
    house.host("node1")
    hang = Call("nvmlDeviceGetPowerUsage", hang=True, gpu=1)
    fake_nvml.write(Scenario(gpus=[WORKING_GPU, Gpu()], calls=[hang]))

    def stuck() -> dict[str, Any] | None:
        host: dict[str, Any] = house.get("api/v1/hosts/node1")
        return host if host["gpus"]["state"] == ["ok", "error"] else None

    host = eventually(stuck, "GPU 1 to be an error")
    assert host["gpus"]["utilization_percent"] == [87, None]
    assert "nvmlDeviceGetPowerUsage" in host["gpus"]["reason"][1]
    findings = host["findings"]
    row = findings["kind"].index("nvml_stuck")
    assert (findings["gpu"][row], findings["severity"][row]) == (1, "critical")
    assert "nvmlDeviceGetPowerUsage" in findings["words"][row]
    fake_nvml.write(Scenario(gpus=[WORKING_GPU, Gpu(lost=True)]))
    eventually(
        lambda: house.get("api/v1/hosts/node1")["gpus"]["state"] == ["ok", "lost"], "GPU 1 lost"
    )


def test_without_a_driver_the_host_is_live_and_its_finding_says_so(
    house: House, fake_nvml: FakeNvml
) -> None:
    house.environment = {}
    house.start("up", name="node1")
    host = house.host("node1")
    findings = host["findings"]
    row = findings["kind"].index("driver")
    assert findings["severity"][row] == "info" and "driver" in findings["words"][row]
    assert host["system"]["memory_total_mib"] > 0


def clients() -> list[Any]:
    text = (ROOT / "docs" / "protocol.md").read_text()
    blocks = dict(re.findall(r"```(python|javascript)\n(.*?)```", text, re.DOTALL))
    node = Path(sys.executable).parent / "node"
    return [
        pytest.param([sys.executable], ".py", blocks["python"], id="python"),
        pytest.param([str(node)], ".mjs", blocks["javascript"], id="javascript"),
    ]


@pytest.mark.parametrize(("interpreter", "ending", "source"), clients())
def test_the_protocol_page_s_client_follows_the_fleet(
    house: House, tmp_path: Path, interpreter: list[str], ending: str, source: str
) -> None:
    house.start("up", name="node1", rpc_timeout=30)  # tolerates pauses
    house.host("node1")
    script = tmp_path / f"client{ending}"
    script.write_text(source)
    command = [*interpreter, str(script), house.url.replace("http", "ws") + "ws"]
    with running(*command, stdout=-1) as client:
        assert client.stdout is not None
        lines = [client.stdout.readline() for _ in range(3)]
    assert lines == ["1 of 2 GPUs are free\n"] * 3
