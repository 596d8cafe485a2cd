"""An upgrade under a live page, a second web server, and a complete uninstall."""

import statistics
import time

from tests.lab.fleet import Fleet
from tests.lab.sight import Viewer
from tests.lab.test_1_rollout import before, files
from tests.support.house import eventually

NEXT = "0.1.1"


def test_an_upgrade_is_a_short_gap_on_the_live_page(
    fleet: Fleet, figures: dict[str, object]
) -> None:
    fleet.bump_version(NEXT)
    names = [fleet.shown_as(name) for name in ("gpu1", "gpu2")]
    with Viewer(fleet.bed) as viewer:
        eventually(lambda: all(viewer.sights(name) for name in names), "the page to be live")
        since = time.monotonic()
        play = fleet.play()
        assert play.code == 0, play.output
        assert "versions:" not in play.output, play.output
        eventually(lambda: versions(fleet) == {NEXT}, "the page to show the new collectors")
        gaps = [round(viewer.longest_gap(name, since), 2) for name in names]
        stale = {each.state for name in names for each in viewer.sights(name)} - {"live"}
    figures["upgrade, seconds"] = round(play.seconds, 1)
    figures["upgrade: longest gap of a host on the page, p50, seconds (aim 3)"] = statistics.median(
        gaps
    )
    figures["upgrade: longest gap of a host on the page, max, seconds (aim 3)"] = max(gaps)
    figures["upgrade: states seen beside live"] = sorted(stale)
    document = fleet.ask("api/v1/fleet")
    assert document["web"]["version"] == document["broker"]["version"] == NEXT


def versions(fleet: Fleet) -> set[str]:
    """The versions of the collectors on the page."""
    document = fleet.ask("api/v1/fleet")
    hosts = document["hosts"].values() if document else ()
    return {host["collector"]["version"] for host in hosts if "collector" in host}


def test_only_the_previous_release_is_kept(fleet: Fleet) -> None:
    for machine in fleet.bed.machines.values():
        kept = machine.call("ls", "/opt/gpu-monitor/releases").split()
        assert [name.partition("-")[0] for name in sorted(kept)] == ["0.1.0", NEXT]
        assert f"releases/{NEXT}-" in machine.call("readlink", "/opt/gpu-monitor/current")


def test_sign_in_is_set_in_the_inventory_and_viewers_on_the_server(fleet: Fleet) -> None:
    fleet.variables["gpu_monitor_config"] = {"sign_in": "token", "viewers": "viewers"}
    play = fleet.play()
    assert play.code == 0, play.output
    server = fleet.machine("server")
    command = "/opt/gpu-monitor/current/bin/gpu-monitor"
    config = ("--config", "/etc/gpu-monitor/config.yml")
    token = server.call(command, "viewers", "add", "alice", *config).split()[-1]
    assert server.call("stat", "-c", "%U %a", "/etc/gpu-monitor/viewers") == "gpu-monitor 600\n"
    assert fleet.ask("api/v1/fleet") is None
    shown = eventually(lambda: fleet.ask("api/v1/fleet", token=token), "alice to be admitted")
    assert shown["hosts"]
    del fleet.variables["gpu_monitor_config"]


def test_a_second_web_server_shows_the_same_fleet(fleet: Fleet) -> None:
    fleet.groups = {"webserver": ["server", "gpu2"], "rpcservers": ["server", "gpu1", "gpu2"]}
    play = fleet.play()
    assert play.code == 0, play.output
    fleet.wait_for("live", "server", "gpu1", "gpu2")
    assert eventually(lambda: fleet.states("gpu2") == fleet.states("server"), "the same fleet")
    assert fleet.host("server")["gpus"]["index"] == []


def test_uninstall_runs_only_by_its_tag_and_leaves_nothing(fleet: Fleet) -> None:
    play = fleet.play("--tags", "uninstall")
    assert play.code == 0, play.output
    for name, machine in fleet.bed.machines.items():
        assert files(fleet, name) - before[name] == set()
        assert "gpu-monitor" not in machine.call("cat", "/etc/passwd", "/etc/group")
        assert machine.call("systemctl", "list-units", "--all", "--no-legend", "gpu-monitor*") == ""
        assert "gpu-monitor" not in machine.call("ps", "-e", "-o", "args")
        assert machine.call("systemctl", "is-system-running").strip() == "running"
