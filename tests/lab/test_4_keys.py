"""Keys on a deployed fleet: encryption, enrolment, rotation and revocation."""

import subprocess
import sys
import time
from pathlib import Path

from tests.lab.bed import SWITCH
from tests.lab.fleet import Fleet
from tests.lab.sight import Viewer
from tests.support.house import eventually

KEYS = "/etc/gpu-monitor/keys"
COMMAND = "/opt/gpu-monitor/current/bin/gpu-monitor"
RECORD = Path(__file__).parent / "record.py"
GREETING = b"CURVE"
"""The clear-text start of an encrypted ZeroMQ connection: proof that the recorder works."""


def public_keys(fleet: Fleet) -> dict[str, str]:
    return {
        name: machine.call("cat", f"{KEYS}/own.pub").splitlines()[-1]
        for name, machine in fleet.bed.machines.items()
    }


def secrets(fleet: Fleet) -> list[str]:
    return [
        machine.call("cat", f"{KEYS}/own.key").splitlines()[-1]
        for machine in fleet.bed.machines.values()
    ]


def test_secret_keys_are_private_to_the_services_and_all_different(fleet: Fleet) -> None:
    for machine in fleet.bed.machines.values():
        assert machine.call("stat", "-c", "%U %a", KEYS, f"{KEYS}/own.key") == (
            "gpu-monitor 700\ngpu-monitor 600\n"
        )
    assert len(set(secrets(fleet))) == len(set(public_keys(fleet).values())) == 3


def test_names_are_encrypted_between_collector_and_broker(fleet: Fleet) -> None:
    recorded = fleet.bed.folder / "recorded"
    command = [*fleet.bed.at(SWITCH), sys.executable, str(RECORD), str(recorded)]
    recorder = subprocess.Popen(command)
    try:
        eventually(recorded.exists, "the recorder to start")
        fleet.machine("gpu1").call("systemctl", "restart", "gpu-monitor-collector")
        eventually(lambda: GREETING in recorded.read_bytes(), "a connection to be made")
        fleet.wait_for("live", "gpu1")
        time.sleep(3)
    finally:
        recorder.kill()
        recorder.wait()
    sent = recorded.read_bytes()
    host = fleet.host("gpu1")
    in_clear = {b"gpu1", b"gpu2", b"hostname", b"utilization", host["gpus"]["uuid"][0].encode()}
    in_clear |= {host["gpus"]["name"][0].encode(), host["system"]["os"].encode()}
    assert [word for word in in_clear if word in sent] == []


def test_revoking_and_enrolling_a_host_take_effect_at_once(
    fleet: Fleet, figures: dict[str, object]
) -> None:
    server = fleet.machine("server")
    public = public_keys(fleet)["gpu2"]
    with Viewer(fleet.bed) as viewer:
        eventually(lambda: viewer.sights("gpu2"), "the page to show gpu2")
        revoked_at = time.monotonic()
        server.call(COMMAND, "keys", "revoke", "gpu2", "--keys", KEYS)
        eventually(lambda: fleet.states().get("gpu2") != "live", "gpu2 to be out")
        last = max(each.at for each in viewer.sights("gpu2") if each.state == "live")
        time.sleep(6)  # time enough to come back, if it could
        assert fleet.states().get("gpu2") != "live"
        enrolled_at = time.monotonic()
        server.call(COMMAND, "keys", "add", "gpu2", f"--public={public}", "--keys", KEYS)
        fleet.wait_for("live", "gpu2")
        figures["revoked: last data after, seconds (aim 5)"] = round(max(0, last - revoked_at), 2)
        figures["enrolled: live after, seconds (aim 10)"] = round(time.monotonic() - enrolled_at, 2)
        others = {each.state for each in viewer.sights("gpu1")}
    figures["revoked: states of another host beside live"] = sorted(others - {"live"})
    log = server.journal("gpu-monitor-broker")
    assert "revoked: hosts gpu2" in log and "revoked: hosts gpu1" not in log


def test_a_host_that_leaves_the_inventory_is_revoked(fleet: Fleet) -> None:
    fleet.groups["rpcservers"].remove("gpu2")
    play = fleet.play()
    assert play.code == 0, play.output
    assert "gpu2.pub" not in fleet.machine("server").call("ls", f"{KEYS}/hosts")
    assert eventually(lambda: fleet.states().keys() == {"gpu1"}, "gpu2 to be gone")


def test_one_flag_replaces_every_key_and_no_secret_is_printed(
    fleet: Fleet, figures: dict[str, object]
) -> None:
    fleet.groups["rpcservers"].append(
        "gpu2"
    )  # added to the inventory again: the same run enrols it
    before, secrets_before = public_keys(fleet), secrets(fleet)
    with Viewer(fleet.bed) as viewer:
        eventually(lambda: viewer.sights("gpu1"), "the page to be live")
        since = time.monotonic()
        play = fleet.play("-e", "gpu_monitor_rotate_keys=true", "-vvv", "--diff")
        assert play.code == 0, play.output
        fleet.wait_for("live", "gpu1", "gpu2")
        gap = viewer.longest_gap("gpu1", since)
    figures["rotation of all keys: longest gap of a host, seconds"] = round(gap, 2)
    after = public_keys(fleet)
    assert all(after[name] != before[name] for name in before)
    assert not [secret for secret in secrets_before + secrets(fleet) if secret in play.output]
    again = fleet.play()
    assert (again.code, again.changed()) == (0, 0), again.output
