"""A simulated fleet, seen through the API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.config.keys import Config
from gpu_monitor.demo.fleet import MISSING_HOST, demo_settings
from tests.support.house import House, eventually


@pytest.fixture
def house(tmp_path: Path, processes: None) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def test_the_fleet_is_live_and_marked_as_simulated(house: House) -> None:
    # One host falls silent after 20 s; a busy machine may take longer to receive all of them.
    house.start("demo", "--hosts", "30", "--gpus", "4", rpc_timeout=60)

    def all_live() -> dict[str, Any] | None:
        fleet: dict[str, Any] | None = house.get("api/v1/fleet")
        return fleet if fleet and fleet["totals"].get("hosts_live") == 30 else None

    fleet = eventually(all_live, "30 live hosts")
    assert fleet["simulated"] is True
    assert fleet["hosts"][MISSING_HOST]["state"] == "missing"
    assert fleet["broker"]["refused"] == {}
    assert fleet["totals"]["gpus_lost"] == 1
    assert fleet["totals"]["gpus_held_idle"] >= 4


def test_the_last_hour_is_complete_from_the_start(house: House) -> None:
    house.start("demo", "--hosts", "3", "--gpus", "4")
    house.host("node01")
    for path in ("api/v1/recent", "api/v1/hosts/node01/recent"):
        minutes = house.get(path)["utilization_percent"]
        for values in [minutes] if path == "api/v1/recent" else minutes:
            assert len(values) == 60 and None not in values[:-1]


def test_the_demo_opens_no_broker_port_and_warns_about_none() -> None:
    settings = demo_settings(Config(rpc_bind="*", updates_bind="*"))
    assert all(
        endpoint.startswith("inproc://")
        for endpoint in (*settings.rpc_endpoints, *settings.updates_endpoints)
    )
    assert settings.warnings == ()


def test_the_demo_ignores_the_hosts_and_keys_of_config_yml() -> None:
    settings = demo_settings(Config(hosts=("node1",), keys="/no/such/folder"))
    assert settings.hosts == (MISSING_HOST,)
    assert settings.keys == ""


def test_every_other_broker_key_of_config_yml_applies_to_the_demo() -> None:
    config = Config(tick=0.25, rpc_timeout=7.0, free_memory_mib=100, never_idle=("python",))
    settings = demo_settings(config)
    assert (settings.tick, settings.rpc_timeout) == (0.25, 7.0)
    assert (settings.free_memory_mib, settings.never_idle) == (100, ("python",))
