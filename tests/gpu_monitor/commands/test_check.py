"""`gpu-monitor check`: one line per fact, with what to do."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.commands import probe
from gpu_monitor.commands.check import report_lines
from gpu_monitor.commands.check_broker import check_states, check_versions
from gpu_monitor.commands.check_page import check_sign_in
from gpu_monitor.commands.report_line import ReportLine
from gpu_monitor.config.keys import Config
from gpu_monitor.web.auth.hashing import hash_token
from tests.fake_nvml import Call, FakeNvml, Gpu, Scenario
from tests.support.house import COMMAND, PATIENT_CHECK, ROOT, House, free_ports

ABSENT = "host.that.is.absent.invalid"  # RFC 6761: never resolves
HOLDS_2 = Scenario(gpus=[Gpu(), Gpu()])


@pytest.fixture
def house(tmp_path: Path, fake_nvml: FakeNvml, processes: None) -> Iterator[House]:
    fake_nvml.write(HOLDS_2)
    house = House(tmp_path, fake_nvml.environment())
    yield house
    house.close()


def report(
    house: House, part: str = "all", patient: bool = False, **keys: object
) -> tuple[int, str]:
    """Exit code and output of `gpu-monitor check` with the config of the house."""
    config = str(house.config(**keys))
    quick = [*COMMAND, "check", part, "--config", config]
    answer = subprocess.run(
        [*PATIENT_CHECK, config, "--part", part] if patient else quick,
        cwd=ROOT,
        env=os.environ | house.environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return answer.returncode, answer.stdout


def test_a_machine_without_problems_passes(house: House) -> None:
    code, lines = report(house, patient=True)
    assert code == 0
    assert all(line.startswith("ok   ") for line in lines.splitlines())
    assert "ok   gpus: 2 found, driver " in lines
    assert f"ok   broker: not running here; rpc_port {house.rpc_port} is free" in lines
    assert f"ok   web: not running here; web_port {house.web_port} is free" in lines


def test_the_names_of_the_page_are_listed_without_sign_in(house: House) -> None:
    own = os.uname().nodename.lower()
    keys: dict[str, Any] = {"broker": "localhost", "web_hosts": ["gpus.example.org"]}
    (names,) = re.findall("web: opens under any address and as (.*); ", report(house, **keys)[1])
    assert {"gpus.example.org", "localhost", own} <= set(names.split(", "))
    (house.folder / "v").touch(0o600)
    signed_in = report(house, sign_in="token", viewers=str(house.folder / "v"))[1]
    assert "opens under" not in signed_in


VIEWERS = f"alice names {hash_token('a')}\nbob counts -\n"


@pytest.mark.parametrize(
    ("keys", "mode", "good", "line"),
    [
        ({}, 0o600, True, "ok   sign_in: none, everyone sees commands"),
        ({"sign_in": "proxy"}, 0o600, True, "ok   sign_in: proxy, everyone it names sees commands"),
        ({"sign_in": "proxy", "viewers": "v"}, 0o600, True, "ok   sign_in: proxy, 2 can sign in"),
        ({"sign_in": "token", "viewers": "v"}, 0o600, False, "FAIL viewers: no token for bob; rem"),
        ({"sign_in": "basic", "viewers": "v"}, 0o600, False, "0 can sign in; run gpu-monitor"),
        ({"sign_in": "token", "viewers": "v"}, 0o644, False, "other users can read or change it;"),
        ({"sign_in": "token", "viewers": "none"}, 0o600, False, "FAIL viewers: "),
        (
            {"sign_in": "token", "viewers": "none", "broker": "192.0.2.1"},
            0o600,
            True,
            "none is missing here, but needed only where the page is served",
        ),
    ],
)
def test_sign_in_and_its_viewers_are_checked(
    tmp_path: Path, keys: dict[str, Any], mode: int, good: bool, line: str
) -> None:
    viewers = tmp_path / "v"
    viewers.write_text(VIEWERS)
    viewers.chmod(mode)
    if "viewers" in keys:
        keys = {**keys, "viewers": str(tmp_path / keys["viewers"])}
    found = list(check_sign_in(Config(**keys)))
    assert all(line.good for line in found) == good
    assert line in "\n".join(map(str, found))


def test_running_roles_are_recognised(house: House) -> None:
    house.start("up", name="node1", rpc_timeout=30)
    house.host("node1")
    code, lines = report(house, patient=True)
    assert code == 0
    assert f"broker: receiving from 127.0.0.1:{house.updates_port}, 1 of 1 hosts live" in lines
    assert f"web: serving the page on port {house.web_port}" in lines


def test_a_port_taken_by_another_program_fails(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, lines = report(house, rpc_port=port)
    assert code == 1
    words = f"rpc_port {port} cannot be used (address already in use); write another rpc_port"
    assert f"FAIL broker: {words}" in lines


def test_a_name_that_does_not_resolve_fails_with_a_remedy(house: House) -> None:
    code, lines = report(house, hosts=["localhost", ABSENT])
    assert code == 1
    assert f"FAIL hosts: {ABSENT} does not resolve; add it to DNS or /etc/hosts" in lines
    assert "hosts: 1 of 2 resolve" in lines


def test_without_any_host_that_resolves_there_is_no_ok_line(house: House) -> None:
    _, lines = report(house, hosts=[ABSENT])
    assert not [line for line in lines if line.startswith("ok") and "resolve" in line]


def test_a_broker_elsewhere_that_does_not_answer_fails(house: House) -> None:
    code, lines = report(house, broker="192.0.2.1")
    assert code == 1
    assert f"FAIL broker: 192.0.2.1:{house.rpc_port} does not answer; start" in lines


def test_an_rpc_bind_that_hosts_cannot_reach_fails(house: House) -> None:
    code, lines = report(house, hosts=["localhost", "192.0.2.7"], rpc_bind="127.0.0.1")
    assert code == 1
    assert "FAIL broker: hosts cannot reach rpc_bind 127.0.0.1; remove it" in lines


def test_a_broker_that_does_not_resolve_fails(house: House) -> None:
    code, lines = report(house, broker=ABSENT)
    assert code == 1
    assert f"FAIL broker: {ABSENT} does not resolve" in lines


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("nvmlDeviceGetCount_v2", error="NO_PERMISSION"), "no permission to access"),
        (
            Call("nvmlDeviceGetCount_v2", hang=True),
            "the NVIDIA driver hangs: no answer within 10 s",
        ),
    ],
)
def test_a_driver_that_does_not_answer_fails(
    call: Call, words: str, house: House, fake_nvml: FakeNvml
) -> None:
    fake_nvml.write(Scenario(gpus=[Gpu()], calls=[call]))
    code, lines = report(house)
    assert code == 1
    assert re.search(f"^FAIL gpus: {words}", lines, re.MULTILINE)


def kinds(lines: str) -> set[str]:
    """The subjects of the lines."""
    return {line[5:].partition(":")[0] for line in lines.splitlines()}


@pytest.mark.parametrize(
    ("part", "about"),
    [
        ("config", {"config"}),
        ("collector", {"config", "gpus", "broker"}),
        ("broker", {"config", "hosts", "broker"}),
        ("web", {"config", "broker", "web", "sign_in"}),
    ],
)
def test_one_part_can_be_checked_alone(house: House, part: str, about: set[str]) -> None:
    assert kinds(report(house, part)[1]) == about


def test_the_broker_names_the_state_of_each_host(house: House) -> None:
    hosts = ["127.0.0.1", "192.0.2.7"]
    house.start("broker", hosts=hosts, rpc_timeout=30)
    house.start("web")
    house.start("collector")
    house.host("127.0.0.1")
    code, lines = report(house, "broker", patient=True, hosts=hosts)
    assert code == 1
    assert "ok   live: 127.0.0.1\n" in lines
    assert "FAIL missing: 192.0.2.7; run there: systemctl status" in lines


def test_a_long_list_of_hosts_is_truncated() -> None:
    hosts = {f"node{number}": {"state": "live"} for number in range(60)}
    hosts |= {f"gone{number}": {"state": "stale"} for number in range(60)}
    found = list(check_states(hosts))
    assert found[0].text.endswith("node49 and 10 more")
    assert found[-1].text == "and 10 more hosts are not live"
    assert len(found) == 52


def test_collectors_of_another_version_cause_a_warning() -> None:
    versions = {"old1": "0.0.9", "old2": "0.0.9", "new": "0.2.0", "same": "0.1.0"}
    hosts: dict[str, dict[str, object]] = {
        name: {"state": "live", "collector": {"version": version}}
        for name, version in versions.items()
    }
    hosts["evil"] = {"state": "live", "collector": {"version": "9\x1b[2J\nok   " + "x" * 100}}
    hosts["off"] = {"state": "stale", "collector": {"version": "0.0.9"}}
    hosts["never"] = {"state": "missing"}
    assert [str(each) for each in check_versions(hosts, "0.1.0")] == [
        "warn versions: the broker is 0.1.0, the collector 0.0.9 on old1, old2",
        "warn versions: the broker is 0.1.0, the collector 0.2.0 on new",
        f"warn versions: the broker is 0.1.0, the collector 9[2J ok {'x' * 31}\u2026 on evil",
    ]


@pytest.mark.parametrize(("part", "broker"), [("broker", "127.0.0.1"), ("web", "192.0.2.1")])
def test_a_silent_broker_fails_where_it_is_needed(house: House, part: str, broker: str) -> None:
    code, lines = report(house, part, broker=broker)
    assert code == 1
    assert f"FAIL broker: nothing received from {broker}:{house.updates_port}; start" in lines


def test_a_finding_prints_as_one_line() -> None:
    assert str(ReportLine(True, "gpus: 2 found")) == "ok   gpus: 2 found"
    assert str(ReportLine(False, "hosts: a does not resolve")) == "FAIL hosts: a does not resolve"
    assert str(ReportLine(True, "web: it is open", is_warning=True)) == "warn web: it is open"


def test_an_open_port_is_a_warning_of_its_own_part_and_no_failure(house: House) -> None:
    opened: dict[str, Any] = {"web_bind": "0.0.0.0", "updates_bind": "0.0.0.0"}
    code, lines = report(house, patient=True, **opened)
    warned = [line for line in lines.splitlines() if not line.startswith("ok   ")]
    assert code == 0
    assert warned == [
        f"warn broker: updates_port {house.updates_port} is open on all interfaces without keys: "
        "anyone who can reach it can read the state of the fleet",
        f"warn web: anyone who can reach port {house.web_port} on all interfaces can read the page",
    ]
    assert "warn broker" not in report(house, "web", **opened)[1]
    assert "warn web" not in report(house, "broker", **opened)[1]


def test_the_config_file_is_reported_first() -> None:
    assert next(report_lines(Config(), "my.yml")).text == "config: my.yml"
    assert (
        next(report_lines(Config(), None)).text
        == "config: no config.yml found, so the defaults apply"
    )


def test_names_and_addresses_resolve() -> None:
    found = probe.resolve({"localhost", "10.0.0.3", "::1"}, 30.0)
    assert found["10.0.0.3"] == ["10.0.0.3"]
    assert found["::1"] == ["::1"]
    assert "127.0.0.1" in found["localhost"]


def test_loopback_belongs_to_this_machine_and_a_test_address_does_not() -> None:
    assert probe.is_own(["192.0.2.1", "127.0.0.1"])
    assert not probe.is_own(["192.0.2.1"])


def test_another_server_is_not_mistaken_for_the_page() -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        assert probe.accepts(["127.0.0.1"], port, 2.0)
    assert not probe.is_our_page("127.0.0.1", port, 2.0)
    assert not probe.accepts(["127.0.0.1"], port, 2.0)


def test_any_free_port_can_be_bound() -> None:
    assert probe.why_not_bindable("127.0.0.1", 0) == ""
    assert probe.why_not_bindable("*", 0) == ""
    assert probe.why_not_bindable("192.0.2.1", 0) == "cannot assign requested address"
