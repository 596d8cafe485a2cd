"""The rollout of README.md, its second run, and what it leaves on the machines."""

import re

import pytest

from tests.lab import tree
from tests.lab.fleet import BASE_PATH, Fleet

SERVICES = {"server": ["broker", "web"], "gpu1": ["collector"], "gpu2": ["collector"]}
UNITS = [(name, f"gpu-monitor-{part}") for name, parts in SERVICES.items() for part in parts]
LOOKED_INTO = ("/etc", "/opt", "/usr", "/var", "/home", "/root", "/srv")
WHOSE = """
import sys
from gpu_monitor.collector.host.processes import ProcessTable
from gpu_monitor.collector.host.users import UserNames
pids = list(map(int, sys.argv[1:]))
facts = ProcessTable("off", UserNames(patience=30)).facts(pids, 0.0)
for pid in pids:
    print(facts[pid].user, facts[pid].effective_user, facts[pid].uid)
"""
before: dict[str, set[str]] = {}


def files(fleet: Fleet, name: str) -> set[str]:
    """Every path on a machine, except those that change by themselves."""
    listed = fleet.machine(name).call(
        *("find", *LOOKED_INTO, "-xdev", "-not", "-name", "*.pyc", "-not", "-name", "__pycache__")
    )
    by_itself = re.compile(
        r"/home/ops/\.sudo_as|/var/(backups|log|tmp|cache|lib/systemd|lib/sudo)"
        r"|.*-$|.*/\.pwd\.lock|/etc/\.updated"
    )
    return {path for path in listed.splitlines() if not by_itself.match(path)}


def test_check_mode_on_fresh_machines_changes_nothing(fleet: Fleet) -> None:
    for name in fleet.bed.machines:
        before[name] = files(fleet, name)
    play = fleet.play("--check")
    assert play.code == 0, play.output
    assert play.changed() == 0
    assert play.output.count("Nothing is installed here yet: a run without --check would") == 3
    for name in fleet.bed.machines:
        assert files(fleet, name) ^ before[name] == set()


def test_a_wrong_sudo_password_is_reported_and_changes_nothing(fleet: Fleet) -> None:
    play = fleet.play(password="not the one")
    assert play.code != 0
    assert "Incorrect sudo password" in play.output
    assert play.changed() == 0


def test_an_old_python_is_reported_before_any_change(fleet: Fleet) -> None:
    play = fleet.play("-e", "gpu_monitor_python=python2")
    assert play.code != 0
    assert "gpu1: There is no Python from 3.10 to 3.13 (found: none). Install one" in play.output
    assert play.changed() == 0


def test_an_address_that_hosts_cannot_use_is_reported(fleet: Fleet) -> None:
    play = fleet.play("-e", "gpu_monitor_broker_address=localhost", "--tags", "preflight")
    assert "The broker's address localhost means each machine itself." in play.output
    play = fleet.play("-e", "gpu_monitor_broker_address=no.such.host", "--tags", "preflight")
    assert "The broker's address no.such.host does not resolve here." in play.output


def test_the_first_run_puts_every_host_on_the_page(
    fleet: Fleet, figures: dict[str, object]
) -> None:
    play = fleet.play()
    assert play.code == 0, play.output
    figures["rollout of 3 machines, seconds (aim 60)"] = round(play.seconds, 1)
    fleet.wait_for("live", "gpu1", "gpu2")
    for name in ("gpu1", "gpu2"):
        host = fleet.host(name)
        assert len([parent for parent in host["gpus"]["parent"] if parent is None]) == 8
    live = f"live: {fleet.shown_as('gpu1')}, {fleet.shown_as('gpu2')}"
    assert live in play.output
    assert f"page: http://127.0.0.1:8042{BASE_PATH}/ on server only" in play.output


def test_the_second_run_changes_nothing(fleet: Fleet, figures: dict[str, object]) -> None:
    play = fleet.play()
    assert play.code == 0, play.output
    figures["second run: changes (aim 0)"] = play.changed()
    figures["second run, seconds"] = round(play.seconds, 1)
    assert play.changed() == 0, play.output


def test_check_mode_changes_nothing_and_reports_that(fleet: Fleet) -> None:
    play = fleet.play("--check")
    assert play.code == 0, play.output
    assert play.changed() == 0, play.output


@pytest.mark.parametrize(("name", "unit"), UNITS)
def test_a_service_runs_as_its_own_user_without_a_capability(
    fleet: Fleet, name: str, unit: str
) -> None:
    machine = fleet.machine(name)
    pid = machine.call("systemctl", "show", "--value", "--property=MainPID", unit).strip()
    status = machine.call("cat", f"/proc/{pid}/status")
    uid = machine.call("id", "-u", "gpu-monitor").strip()
    assert re.search(rf"^Uid:\t{uid}\t{uid}\t", status, re.MULTILINE)
    assert set(re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE)) == {"0" * 16}
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


def test_a_gpu_host_opens_no_port(fleet: Fleet) -> None:
    for name in ("gpu1", "gpu2"):
        listening = fleet.machine(name).call("ss", "-Hltn")
        assert {line.split()[3].rpartition(":")[2] for line in listening.splitlines()} == {"22"}


def test_a_root_process_in_a_session_belongs_to_the_user_of_the_session(fleet: Fleet) -> None:
    # In Python: pids inside a machine of the lab differ from those that NVML reports.
    machine = fleet.machine("gpu1")
    uid = machine.call("id", "-u", tree.USER).strip()
    pids = []
    for unit, place in (("lab-his", f"user-{uid}.slice"), ("lab-roots", "system.slice")):
        machine.call("systemd-run", f"--unit={unit}", f"--slice={place}", "sleep", "600")
        pids.append(
            machine.call("systemctl", "show", "--value", "--property=MainPID", unit).strip()
        )
    command = ("runuser", "-u", "gpu-monitor", "--", "/opt/gpu-monitor/current/bin/python", "-c")
    shown = machine.call(*command, WHOSE, *pids)
    machine.call("systemctl", "stop", "lab-his", "lab-roots")
    assert shown.splitlines() == [f"{tree.USER} root 0", "root None 0"]


def test_no_service_may_write_its_code_or_configuration(fleet: Fleet) -> None:
    for machine in fleet.bed.machines.values():
        places = ("/opt/gpu-monitor", "/etc/gpu-monitor")
        found = machine.call("find", *places, "-user", "gpu-monitor", "-not", "-path", "*/keys*")
        assert found == ""
        config = machine.call("stat", "-c", "%U:%G %a", "/etc/gpu-monitor/config.yml")
        assert config == "root:gpu-monitor 640\n"


@pytest.mark.parametrize(("name", "unit"), UNITS)
def test_the_exposure_on_a_booted_machine_is_within_its_limit(
    fleet: Fleet, name: str, unit: str, figures: dict[str, object]
) -> None:
    answer = fleet.machine(name).call("systemd-analyze", "security", "--no-pager", unit)
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", answer)
    assert found, answer
    aim = 2.0 if "collector" in unit else 1.5
    figures[f"exposure of {unit} on {name} (aim {aim})"] = float(found[1])
    assert float(found[1]) <= aim


def test_the_password_is_never_printed(fleet: Fleet) -> None:
    play = fleet.play("-vvv", "--diff", "--tags", "collector", "--limit", "gpu1")
    assert play.code == 0, play.output
    assert tree.PASSWORD not in play.output.replace(f"{tree.PASSWORD}\n", "", 1)


def test_an_unknown_key_is_refused_and_nothing_restarts(fleet: Fleet) -> None:
    machine = fleet.machine("gpu1")
    pid = machine.call("systemctl", "show", "--property=MainPID", "gpu-monitor-collector")
    play = fleet.play("-e", '{"gpu_monitor_config": {"intervall": 2}}')
    assert play.code != 0
    assert "intervall: unknown key; write interval" in play.output
    assert machine.call("systemctl", "show", "--property=MainPID", "gpu-monitor-collector") == pid
    assert "intervall" not in machine.call("cat", "/etc/gpu-monitor/config.yml")
