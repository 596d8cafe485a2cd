"""broker.published_host: what a tick publishes of the messages since the last one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.document import Published
from gpu_monitor.broker.settings import BrokerSettings
from tests.support.snapshots import make_gpus, make_processes
from tests.support.ticking import WALL, Broker


def make_live(**keys: Any) -> Broker:
    """A broker whose host node1 is live and published; only differences are read from now on."""
    broker = Broker(**keys)
    for second in range(3):
        broker.send(float(second))
        broker.tick(float(second))
    return broker


def percent(*values: int | None) -> dict[str, list[Any]]:
    return make_gpus(len(values), utilization_percent=list(values))


def gpus_in(patch: dict[str, Any]) -> dict[str, Any]:
    gpus: dict[str, Any] = patch.get("hosts", {}).get("node1", {}).get("gpus", {})
    return gpus


def test_the_patch_holds_the_second_of_two_messages_in_one_tick() -> None:
    broker = make_live()
    broker.send(2.1, gpus=percent(10, 20))
    broker.send(2.2, gpus=percent(30, 40))
    patch = broker.tick(2.5)
    assert gpus_in(patch) == {"utilization_percent": [30, 40]}
    assert patch["totals"] == {"utilization_percent": 35}
    assert patch["users"] == {"alice": {"utilization_percent": 30}}


def test_the_patch_holds_what_either_of_two_messages_in_one_tick_changed() -> None:
    broker = make_live()
    broker.send(2.1, gpus=percent(10, 20))
    broker.send(2.2, gpus=make_gpus(2, utilization_percent=[10, 20], power_watts=[500, 600]))
    assert gpus_in(broker.tick(2.5)) == {
        "utilization_percent": [10, 20],
        "power_watts": [500, 600],
    }


def test_a_value_that_changes_back_within_a_tick_is_not_published() -> None:
    broker = make_live()
    broker.send(2.1, gpus=percent(10, 20))
    broker.send(2.2)
    assert broker.tick(2.5).keys() <= {"now"}


def test_forty_messages_in_one_tick_yield_the_last_values() -> None:
    broker = make_live()
    for number in range(40):
        broker.send(2.0 + number / 100, gpus=percent(number, 20))
    patch = broker.tick(2.5)
    assert gpus_in(patch) == {"utilization_percent": [39, 20]}
    assert patch["users"] == {"alice": {"utilization_percent": 39}}


def test_nothing_is_published_before_the_tick() -> None:
    broker = make_live()
    broker.send(2.1, gpus=percent(10, 20))
    assert broker.published.document == broker.followed
    broker.tick(2.5)
    assert broker.followed["hosts"]["node1"]["gpus"]["utilization_percent"] == [10, 20]


def test_a_host_that_turns_stale_before_the_tick_shows_its_last_values() -> None:
    broker = make_live()
    broker.send(2.1, gpus=percent(10, 20))
    patch = broker.tick(4.5)
    assert patch["hosts"]["node1"]["state"] == "stale"
    assert gpus_in(patch)["utilization_percent"] == [10, 20]
    assert patch["totals"]["gpus"] == 0 and patch["users"] == {"alice": None}


def test_a_stale_host_that_reports_between_two_ticks_is_counted() -> None:
    broker = make_live()
    broker.fleet.mark_stale(5.0)
    broker.send(5.1, gpus=percent(10, 20))
    patch = broker.tick(5.2)
    assert broker.followed["hosts"]["node1"]["state"] == "live"
    assert patch["totals"] == {"utilization_percent": 15}


def test_a_host_in_conflict_at_the_tick_counts_nowhere() -> None:
    broker = make_live()
    rival = {"run_id": "2", "boot_id": "second"}
    for second in (2.1, 3.1, 4.1):
        broker.send(second, gpus=percent(10, int(second)))
        broker.send(second + 0.1, **rival)
    patch = broker.tick(4.5)
    assert patch["hosts"]["node1"]["state"] == "conflict"
    assert gpus_in(patch)["utilization_percent"] == [10, 4]
    assert patch["totals"]["gpus"] == 0


def test_a_host_forgotten_at_the_tick_leaves_the_document() -> None:
    broker = make_live(forget_after=5.0)
    broker.send(2.1, gpus=percent(10, 20))
    assert broker.tick(50.0)["hosts"] == {"node1": None}
    assert broker.followed["totals"]["hosts"] == 0 and broker.followed["users"] == {}


@pytest.mark.parametrize("moves_first", [True, False])
def test_a_new_process_within_a_tick_sends_all_changed_columns(
    moves_first: bool,
) -> None:
    broker = make_live()
    other = make_processes(pid=[7], user=["bob"], sm_utilization_percent=[6], gpu_memory_mib=[8])
    before = make_processes() if moves_first else other
    broker.send(2.1, gpus=percent(10, 20), processes=before)
    broker.send(2.2, gpus=percent(30, 40), processes=other)
    patch = broker.tick(2.5)
    assert gpus_in(patch)["utilization_percent"] == [30, 40]
    assert patch["hosts"]["node1"]["processes"] == {
        "pid": [7],
        "user": ["bob"],
        "sm_utilization_percent": [6],
        "gpu_memory_mib": [8],
    }
    assert patch["users"]["alice"] is None and patch["users"]["bob"]["utilization_percent"] == 30


def test_slow_values_and_the_memory_of_users_wait_for_their_turn() -> None:
    broker = make_live()
    carried = []
    for second in range(3, 63):
        broker.send(
            float(second),
            gpus=make_gpus(2, fan_percent=[second] * 2, temperature_celsius=[second] * 2),
            processes=make_processes(gpu_memory_mib=[second]),
        )
        patch = broker.tick(float(second))
        host = patch["hosts"]["node1"]
        carried.append("fan_percent" in host["gpus"])
        assert host["gpus"]["temperature_celsius"] == [second] * 2
        assert ("processes" in host) == carried[-1]
        assert patch.get("users") == (
            {"alice": {"gpu_memory_mib": second}} if carried[-1] else None
        )
    assert sum(carried) == 12


def test_the_collectors_cost_is_sent_only_with_the_bookkeeping() -> None:
    broker = make_live()
    carried = 0
    for second in range(3, 63):
        broker.send(float(second), collector={"version": "0.1.0", "memory_mib": second})
        host = broker.tick(float(second)).get("hosts", {}).get("node1", {})
        assert ("collector" in host) == ("sequence" in host)
        carried += "collector" in host
    assert carried == 6


def test_a_held_gpu_turns_idle_with_time_alone() -> None:
    broker = Broker(held_idle_after=10.0)
    held = make_gpus(2, memory_used_mib=[9000, 4], idle_since=[WALL, WALL])
    uses = []
    for second in range(15):
        broker.send(float(second), gpus=held)
        broker.tick(float(second))
        if "node1" in broker.followed["hosts"]:
            uses.append(broker.followed["hosts"]["node1"]["gpus"]["use"][0])
    assert uses == ["busy"] * 9 + ["held_idle"] * 5
    assert broker.followed["totals"]["gpus_held_idle"] == 1


def test_a_gpu_is_held_idle_once_its_never_idle_command_is_gone() -> None:
    broker = Broker(held_idle_after=10.0, never_idle=("python serve.py",))
    held = make_gpus(2, idle_since=[WALL - 100, WALL - 100])
    uses = []
    for second, command in enumerate(["python serve.py --port 1"] * 3 + ["python train.py"] * 2):
        broker.send(float(second), gpus=held, processes=make_processes(command=[command]))
        broker.tick(float(second))
        if "node1" in broker.followed["hosts"]:
            uses.append(broker.followed["hosts"]["node1"]["gpus"]["use"][0])
    assert uses == ["busy"] * 2 + ["held_idle"] * 2
    assert broker.followed["users"]["alice"]["held_idle_gpus"] == 1


percents = st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=2, max_size=2)
messages = st.tuples(
    percents,
    st.lists(st.sampled_from([4, 9000, None]), min_size=2, max_size=2),
    st.sampled_from([[None, None], [WALL, None]]),
    st.sampled_from([[2000], [3000], [None]]),
    st.sampled_from(["alice", "alice", "bob", None]),
    st.sampled_from(["python train.py", "python train.py", "python serve.py -v", None]),
    st.booleans(),
)


@given(st.lists(messages, max_size=8))
def test_after_any_series_of_messages_totals_equal_those_counted_from_scratch(
    steps: list[Any],
) -> None:
    keys: dict[str, Any] = {"held_idle_after": 3.0, "never_idle": ("python serve.py",)}
    broker, at = make_live(**keys), 2.0
    for used_percent, memory, idle, held, user, command, ticks in steps:
        at += 0.5
        broker.send(
            at,
            gpus=make_gpus(
                2, utilization_percent=used_percent, memory_used_mib=memory, idle_since=idle
            ),
            processes=make_processes(user=[user], command=[command], gpu_memory_mib=held),
        )
        if ticks:
            broker.tick(at)
    broker.tick(at + 0.1)
    scratch = Published(BrokerSettings(**keys), broker.fleet, WALL)
    for name, host in scratch.document["hosts"].items():
        gpus = broker.followed["hosts"][name]["gpus"]
        for column in ("use", "utilization_percent", "memory_used_mib", "idle_since"):
            assert gpus[column] == host["gpus"][column]
    assert scratch.document["totals"] == broker.followed["totals"]


def test_what_a_gpu_did_lately_decides_on_its_use_at_the_next_tick() -> None:
    broker = make_live()
    for second, (activity, use, reason) in enumerate(
        (
            ("working", "busy", "in use in the last 30 s, compute process not visible"),
            ("quiet", "free", None),
            (None, None, "its utilization over the last 30 s is not known"),
        )
    ):
        at = 2.5 + second
        broker.send(at - 0.4, gpus=make_gpus(2, activity=["quiet", activity]))
        broker.tick(at)
        gpus = broker.followed["hosts"]["node1"]["gpus"]
        assert (gpus["use"][1], gpus["use_reason"]) == (use, [None, reason])
        assert broker.followed["totals"]["gpus_free"] == (use == "free")


def test_the_use_follows_the_memory_of_an_mps_server() -> None:
    broker = Broker()
    for second in range(20):
        server_mib = 600 if second < 10 else 30
        broker.send(
            float(second),
            gpus=make_gpus(1, memory_used_mib=[620], idle_since=[None]),
            processes=make_processes(mps=["server"], gpu_memory_mib=[server_mib]),
        )
        broker.tick(float(second))
        if second == 9:
            assert broker.followed["hosts"]["node1"]["gpus"]["use"] == ["free"]
    assert broker.followed["hosts"]["node1"]["gpus"]["use"] == ["busy"]


def test_a_stale_host_has_neither_uses_nor_reasons() -> None:
    broker = make_live()
    broker.send(2.1, gpus=make_gpus(2, activity=["quiet", "working"]))
    broker.tick(2.5)
    broker.tick(4.5)
    gpus = broker.followed["hosts"]["node1"]["gpus"]
    assert (gpus["use"], gpus["use_reason"]) == ([None, None], [None, None])
