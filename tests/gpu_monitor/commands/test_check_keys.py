"""`gpu-monitor check` on the keys of this machine, and on whether the broker knows them."""

import os
import subprocess
from pathlib import Path

import pytest

from gpu_monitor.commands import key_files
from gpu_monitor.commands.check_keys import findings
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve.keys import fingerprint, own_pair
from tests.support.house import COMMAND, PATIENT_COMMAND, ROOT, House, eventually
from tests.support.key_folders import KeyFolders


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    return KeyFolders(tmp_path / "keys")


@pytest.fixture
def broker(house: House, folders: KeyFolders) -> House:
    """A house whose broker runs, with the folder of keys of its own."""
    house.start("broker", keys=folders.broker, rpc_bind="127.0.0.1")
    eventually(lambda: "broker listens on" in house.log("broker"), "a broker")
    return house


def failures(folder: str, is_broker: bool, *hosts: str) -> list[str]:
    config = Config(keys=folder, hosts=hosts)
    return [words for good, words in findings(config, is_broker) if not good]


def report(house: House, folder: str, **keys: object) -> str:
    """The lines about keys and broker, as a machine that is not the broker's would print them."""
    script = (
        "import sys\n"
        "from gpu_monitor.commands import probe\n"
        "probe.PATIENCE_SECONDS = 30.0\n"  # every answer is to come
        "probe.is_own = lambda addresses: False\n"
        "from gpu_monitor.__main__ import main\n"
        "main(['check', '--config', sys.argv[1]])\n"
    )
    command = [COMMAND[0], "-c", script, str(house.config(keys=folder, **keys))]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    return "".join(
        line for line in answer.stdout.splitlines(True) if line[5:].startswith(("keys", "broker"))
    )


def test_keys_in_order_are_one_line(folders: KeyFolders) -> None:
    folder = folders.host("node1")
    key = fingerprint(own_pair(folder).public)
    assert list(findings(Config(keys=folder), False)) == [
        (True, f"{folder} holds this machine's key {key}")
    ]


def test_on_the_broker_those_who_are_let_in_are_counted(folders: KeyFolders) -> None:
    folders.host("node1")
    folders.web("page1")
    words = [words for _, words in findings(Config(keys=folders.broker, hosts=("node1",)), True)]
    assert words[1:] == ["1 hosts and 1 web servers are let in"]


def test_what_is_missing_unsafe_or_broken_is_a_line_each(folders: KeyFolders) -> None:
    folder = folders.host("node1")
    os.unlink(f"{folder}/broker.pub")
    assert failures(folder, False) == [
        f"{folder}/broker.pub: is missing; put the broker's own.pub there"
    ]
    os.chmod(f"{folder}/own.key", 0o644)
    assert "own.key: others may read it (mode 0644); run chmod 600" in failures(folder, False)[0]
    os.chmod(folders.broker, 0o750)
    Path(folders.broker, "hosts", "node1.pub").write_text("")
    key_files.add(folders.broker, "hosts", "node2", "")
    assert failures(folders.broker, True, "node2", "node3") == [
        f"{folders.broker}: others may look into it; run chmod 700 {folders.broker}",
        f"{folders.broker}/hosts/node1.pub: holds no key (one line of 40 Z85 characters); "
        "enrol it again with gpu-monitor keys",
        "hosts without a key: node3; gpu-monitor keys add lets one in",
        f"{folders.broker}/carry/hosts/node2 holds a secret of another machine; "
        "carry it there, remove it here",
    ]


def test_the_broker_is_heard_with_its_own_folder(broker: House, folders: KeyFolders) -> None:
    folders.host("node1")
    answer = subprocess.run(
        [*PATIENT_COMMAND, "check", "--config", str(broker.config(keys=folders.broker))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"ok   keys: {folders.broker} holds this machine's key " in answer.stdout
    assert f"ok   broker: 127.0.0.1:{broker.updates_port} is heard, 0 of" in answer.stdout


def test_a_web_server_s_machine_hears_the_broker(broker: House, folders: KeyFolders) -> None:
    folder = folders.web("page1")
    eventually(lambda: "enrolled: webs page1" in broker.log("broker"), "the enrolment")
    lines = report(broker, folder)
    assert f"ok   broker: 127.0.0.1:{broker.updates_port} is heard, 0 of" in lines


def test_a_host_may_report_and_that_is_enough(broker: House, folders: KeyFolders) -> None:
    folder = folders.host("node1")
    eventually(lambda: "enrolled: hosts node1" in broker.log("broker"), "the enrolment")
    lines = report(broker, folder)
    assert f"ok   broker: 127.0.0.1:{broker.rpc_port} takes connections from here" in lines
    assert "FAIL" not in lines


def test_a_machine_that_is_not_enrolled_is_told_what_to_do(
    broker: House, folders: KeyFolders
) -> None:
    folder = folders.machine("stranger")
    lines = report(broker, folder, name="stranger")
    assert (
        f"FAIL broker: 127.0.0.1:{broker.rpc_port} does not take what this machine reports: "
        "it does not know this machine's key; there: gpu-monitor keys add stranger "
        f"--public='{own_pair(folder).public}' (with --web, if it is a web server)\n"
    ) in lines


def test_a_machine_without_keys_is_told_that_the_broker_asks_for_them(broker: House) -> None:
    assert "it requires keys: name them in config.yml (keys)" in report(broker, "")


def test_a_machine_that_pins_another_broker_is_told_so(broker: House, folders: KeyFolders) -> None:
    folder = folders.host("node1")
    Path(folder, "broker.pub").write_text(own_pair(folder).public)
    assert f"{folder}/broker.pub is not its own.pub" in report(broker, folder)


def test_keys_that_cannot_be_used_do_not_end_the_check(house: House, folders: KeyFolders) -> None:
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
