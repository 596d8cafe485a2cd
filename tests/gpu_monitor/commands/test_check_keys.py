"""`gpu-monitor check` of the keys of this machine, and of its link to a broker with keys."""

import os
import subprocess
from pathlib import Path

import pytest

from gpu_monitor.commands import key_files
from gpu_monitor.commands.check_keys import report_lines
from gpu_monitor.commands.report_line import ReportLine
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve.keys import fingerprint, own_pair
from tests.support.house import COMMAND, PATIENT_CHECK, ROOT, House, eventually
from tests.support.key_folders import KeyFolders


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    return KeyFolders(tmp_path / "keys")


@pytest.fixture
def broker(house: House, folders: KeyFolders) -> House:
    """A house with a running broker that has keys."""
    house.start("broker", keys=folders.broker, rpc_bind="127.0.0.1")
    eventually(lambda: "broker listens on" in house.log("broker"), "a broker")
    return house


def failures(folder: str, is_broker: bool, *hosts: str) -> list[str]:
    config = Config(keys=folder, hosts=hosts)
    return [line.text for line in report_lines(config, is_broker) if not line.good]


def report(house: House, folder: str, **keys: object) -> str:
    """The lines about keys and broker, as on a machine other than the broker's."""
    command = [*PATIENT_CHECK, str(house.config(keys=folder, **keys)), "--elsewhere"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    return "".join(
        line for line in answer.stdout.splitlines(True) if line[5:].startswith(("keys", "broker"))
    )


def test_usable_keys_are_one_line(folders: KeyFolders) -> None:
    folder = folders.host("node1")
    key = fingerprint(own_pair(folder).public)
    assert list(report_lines(Config(keys=folder), False)) == [
        ReportLine(True, f"keys: {folder} holds this machine's key {key}")
    ]


def test_on_the_broker_enrolled_machines_are_counted(folders: KeyFolders) -> None:
    folders.host("node1")
    folders.web("page1")
    found = list(report_lines(Config(keys=folders.broker, hosts=("node1",)), True))
    assert found[1:] == [ReportLine(True, "keys: 1 hosts and 1 web servers are enrolled")]


def test_each_missing_unsafe_or_broken_file_is_a_line(folders: KeyFolders) -> None:
    folder = folders.host("node1")
    os.unlink(f"{folder}/broker.pub")
    assert failures(folder, False) == [
        f"keys: {folder}/broker.pub: is missing; put the broker's own.pub there"
    ]
    os.chmod(f"{folder}/own.key", 0o644)
    assert "own.key: others may read it (mode 0644); run chmod 600" in failures(folder, False)[0]
    os.chmod(folders.broker, 0o750)
    Path(folders.broker, "hosts", "node1.pub").write_text("")
    key_files.add(folders.broker, "hosts", "node2", "")
    assert failures(folders.broker, True, "node2", "node3") == [
        f"keys: {folders.broker}/hosts/node1.pub: holds no key (one line of 40 Z85 characters); "
        "enrol it again with gpu-monitor keys",
        "keys: hosts without a key: node3; enrol each with gpu-monitor keys add",
        f"keys: {folders.broker}: other users can read it; run chmod 700 {folders.broker}",
        f"keys: {folders.broker}/carry/hosts/node2 holds the secret key of another machine; "
        "move it there",
    ]


def test_the_broker_machine_receives_with_its_own_keys(broker: House, folders: KeyFolders) -> None:
    folders.host("node1")
    answer = subprocess.run(
        [*PATIENT_CHECK, str(broker.config(keys=folders.broker))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"ok   keys: {folders.broker} holds this machine's key " in answer.stdout
    assert f"ok   broker: receiving from 127.0.0.1:{broker.updates_port}, 0 of" in answer.stdout


def test_an_enrolled_web_server_receives_from_the_broker(
    broker: House, folders: KeyFolders
) -> None:
    folder = folders.web("page1")
    eventually(lambda: "enrolled: webs page1" in broker.log("broker"), "the enrolment")
    lines = report(broker, folder)
    assert f"ok   broker: receiving from 127.0.0.1:{broker.updates_port}, 0 of" in lines


def test_an_enrolled_host_passes_though_it_may_not_subscribe(
    broker: House, folders: KeyFolders
) -> None:
    folder = folders.host("node1")
    eventually(lambda: "enrolled: hosts node1" in broker.log("broker"), "the enrolment")
    lines = report(broker, folder)
    assert (
        f"ok   broker: 127.0.0.1:{broker.rpc_port} accepts connections from this machine" in lines
    )
    assert "FAIL" not in lines


def test_a_machine_that_is_not_enrolled_gets_the_command_for_the_broker(
    broker: House, folders: KeyFolders
) -> None:
    folder = folders.machine("stranger")
    lines = report(broker, folder, name="stranger")
    assert (
        f"FAIL broker: 127.0.0.1:{broker.rpc_port} refuses reports from this machine: "
        "it does not know this machine's key; there: gpu-monitor keys add stranger "
        f"--public='{own_pair(folder).public}' (with --web, if it is a web server)\n"
    ) in lines


def test_without_keys_the_broker_s_need_for_keys_is_reported(broker: House) -> None:
    assert "it requires keys: name them in config.yml (keys)" in report(broker, "")


def test_the_public_key_of_another_broker_is_reported(broker: House, folders: KeyFolders) -> None:
    folder = folders.host("node1")
    Path(folder, "broker.pub").write_text(own_pair(folder).public)
    assert f"{folder}/broker.pub is not its own.pub" in report(broker, folder)


def test_unusable_keys_do_not_end_the_check(house: House, folders: KeyFolders) -> None:
    folder = folders.host("node1")
    os.unlink(f"{folder}/own.key")
    answer = subprocess.run(
        [*COMMAND, "check", "--config", str(house.config(keys=folder))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 1
    words = "is missing; make one with gpu-monitor keys init"
    assert f"FAIL keys: {folder}/own.key: {words}\n" in answer.stdout
    assert "web: not running here" in answer.stdout
