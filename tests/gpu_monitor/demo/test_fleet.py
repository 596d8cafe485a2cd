"""A simulated fleet over the real wire, as the API shows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.config.keys import Config
from gpu_monitor.demo.fleet import NEVER_HEARD, demo_settings
from tests.support.house import House, eventually


@pytest.fixture
def house(tmp_path: Path, processes: None) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def test_the_fleet_is_live_and_says_that_it_is_simulated(house: House) -> None:
    # One falls silent after 20 s: by then a busy machine may not have heard all of them.
    house.start("demo", "--hosts", "30", "--gpus", "4", rpc_timeout=60)

    def all_live() -> dict[str, Any] | None:
        fleet: dict[str, Any] | None = house.get("api/v1/fleet")
        return fleet if fleet and fleet["totals"].get("hosts_live") == 30 else None

    fleet = eventually(all_live, "30 live hosts")
    assert fleet["simulated"] is True
    assert fleet["hosts"][NEVER_HEARD]["state"] == "missing"
    assert fleet["broker"]["refused"] == {}
    assert fleet["totals"]["gpus_lost"] == 1
    assert fleet["totals"]["gpus_held_idle"] >= 4


def test_the_last_hour_is_there_from_the_start(house: House) -> None:
    house.start("demo", "--hosts", "3", "--gpus", "4")
    house.host("node01")
    for path in ("api/v1/recent", "api/v1/hosts/node01/recent"):
        minutes = house.get(path)["utilization_percent"]
        for values in [minutes] if path == "api/v1/recent" else minutes:
            assert len(values) == 60 and None not in values[:-1]


def test_no_port_is_opened_but_the_page_s() -> None:
    settings = demo_settings(Config())
    assert all(
        endpoint.startswith("inproc://")
        for endpoint in (*settings.rpc_endpoints, *settings.updates_endpoints)
    )


def test_the_demo_knows_nothing_of_the_hosts_in_config_yml() -> None:
    assert demo_settings(Config(hosts=("node1",))).hosts == (NEVER_HEARD,)
