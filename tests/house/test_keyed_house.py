"""The commands with keys: what an operator sees, and what an eavesdropper can read."""

import functools
import os
import pwd
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.commands import key_files
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.keys import HOSTS, own_pair
from tests.support.house import PATIENCE_SECONDS, ROOT, House, eventually, running
from tests.support.key_folders import KeyFolders
from tests.support.tcp_recorder import Recorder

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    return KeyFolders(tmp_path / "keys")


def start(house: House, folders: KeyFolders, **keys: Any) -> None:
    """Broker, web server and the collector of node1, each with its own folder of keys."""
    log = ("--log-level", "debug")
    house.start("broker", *log, keys=folders.broker, rpc_bind="127.0.0.1", **keys)
    house.start("web", *log, keys=folders.web("page1"), **keys)
    house.start("collector", *log, keys=folders.host("node1"), name="anything", **keys)


def is_logged(house: House, words: str) -> bool:
    return words in house.log("broker")


def no_secret_in_logs(house: House, folders: KeyFolders) -> bool:
    secrets = [own_pair(str(file.parent)).secret for file in folders.place.rglob("own.key")]
    text = "".join(file.read_text() for file in house.logs())
    return bool(secrets) and bool(text) and not any(secret in text for secret in secrets)


def test_three_processes_with_keys_show_a_host_under_its_key_s_name(
    house: House, folders: KeyFolders
) -> None:
    start(house, folders)
    host = house.host("node1")
    assert host["gpus"]["utilization_percent"] == [87, 0]
    assert host["system"]["hostname"] == "anything"
    assert "warnings" not in house.get("api/v1/fleet")["broker"]
    assert [house.stop(role) for role in ("collector", "web", "broker")] == [0, 0, 0]
    assert no_secret_in_logs(house, folders)


def test_in_one_process_only_other_machines_need_a_key(house: House, folders: KeyFolders) -> None:
    house.start("up", name="head", keys=folders.broker, rpc_bind="127.0.0.1")
    house.start("collector", keys=folders.host("node1"))
    house.start("collector", title="stranger", name="stranger")
    house.host("head")
    house.host("node1")
    eventually(lambda: "it requires keys" in house.log("stranger"), "a refusal")
    assert house.get("api/v1/fleet")["hosts"].keys() == {"head", "node1"}
    assert [house.stop(title) for title in ("collector", "stranger", "up")] == [0, 0, 0]
    assert no_secret_in_logs(house, folders)


def test_a_revoked_host_goes_stale_until_enrolled_again_and_others_stay_live(
    house: House, folders: KeyFolders
) -> None:
    lively: dict[str, Any] = {
        "interval": 0.25,
        "rpc_timeout": 5,
    }  # a short pause of node2 is no fault
    start(house, folders, **lively)
    house.start("collector", title="second", keys=folders.host("node2"), **lively)
    house.host("node1")
    house.host("node2")
    folders.revoke("node1", HOSTS)
    house.host("node1", "stale")
    eventually(
        lambda: "it does not know this machine's key" in house.log("collector"), "the log line"
    )
    folders.enrol("node1", HOSTS)
    house.host("node1")
    assert set(re.findall("stale: (.*)", house.log("broker"))) == {"node1"}
    assert "Traceback" not in "".join(file.read_text() for file in house.logs())


def test_a_new_broker_key_needs_a_restart_and_a_copy_on_every_machine(
    house: House, folders: KeyFolders
) -> None:
    start(house, folders)
    house.host("node1")
    public = key_files.rotate_own(folders.broker, "broker")
    eventually(lambda: "restart the broker to use it" in house.log("broker"), "the log line")
    house.stop("broker")
    house.start("broker", keys=folders.broker, rpc_bind="127.0.0.1")
    eventually(lambda: "it closes the connection; perhaps" in house.log("collector"), "a refusal")
    eventually(lambda: house.get("readyz") is None, "the web server to lose the broker")
    for name in ("node1", "page1"):
        (folders.place / name / "broker.pub").write_text(public)
    house.host("node1")


@pytest.mark.parametrize(
    ("command", "spoil", "words"),
    [
        ("collector", "own.key", "make one with gpu-monitor keys init"),
        ("web", "broker.pub", "put the broker's own.pub there"),
        ("broker", "own.key", "make one with gpu-monitor keys init"),
    ],
)
def test_unusable_keys_end_the_start_with_2_and_one_line(
    house: House, folders: KeyFolders, command: str, spoil: str, words: str
) -> None:
    folder = folders.broker if command == "broker" else folders.host("node1")
    Path(folder, spoil).unlink()
    house.start(command, keys=folder)
    assert house.running[command].wait(30) == 2
    assert house.log(command) == f"{folder}/{spoil}: is missing; {words}\n"


def recorded(house: House, folders: KeyFolders | None) -> bytes:
    """All traffic between a collector, its broker and the web server until a host is live."""
    keys: dict[str, Any] = {} if folders is None else {"keys": folders.broker}
    house.start("broker", rpc_bind="127.0.0.1", **keys)
    with Recorder(house.rpc_port) as rpc, Recorder(house.updates_port) as updates:
        keys = {} if folders is None else {"keys": folders.web("page1")}
        house.start("web", updates_port=updates.port, **keys)
        keys = {} if folders is None else {"keys": folders.host("secret-host")}
        house.start("collector", name="secret-host", rpc_port=rpc.port, **keys)
        eventually(
            lambda: house.host("secret-host")["processes"]["user"] == [USER], "the user's name"
        )
        return rpc.data + updates.data


def test_an_eavesdropper_can_read_names_only_without_keys(
    house: House, folders: KeyFolders, tmp_path: Path
) -> None:
    open_data = recorded(house, None)
    house.close()
    locked_data = recorded(house, folders)
    user = b"user\x91" + pack(USER)
    names = (b"secret-host", user, b"utilization_percent", b"picture/")
    assert [name for name in names if name not in open_data] == []
    assert [name for name in names if name in locked_data] == []
    assert len(locked_data) > 4000


def test_the_protocol_page_s_subscriber_with_keys_receives_the_fleet(
    house: House, folders: KeyFolders, tmp_path: Path
) -> None:
    source = re.search(
        r"```python keys\n(.*?)```", (ROOT / "docs" / "protocol.md").read_text(), re.DOTALL
    )
    assert source is not None
    house.start("broker", keys=folders.broker, rpc_bind="127.0.0.1")
    key_files.add(folders.broker, "webs", "exporter", "")
    script = tmp_path / "subscriber.py"
    script.write_text(source[1])
    folder = f"{folders.broker}/carry/webs/exporter"
    for words in ("enrolled: webs exporter", "broker listens on"):  # a refused peer never retries
        eventually(functools.partial(is_logged, house, words), words)
    command = [sys.executable, str(script), f"tcp://127.0.0.1:{house.updates_port}", folder]
    with running(*command, stdout=-1) as client:
        killer = threading.Timer(PATIENCE_SECONDS, client.kill)
        killer.start()
        assert client.stdout is not None
        lines = [int(client.stdout.readline() or -1) for _ in range(3)]
        killer.cancel()
    assert lines == [lines[0], lines[0] + 1, lines[0] + 2]
