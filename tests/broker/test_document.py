"""The published document over time: what travels in each patch, and that it all adds up."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.snapshots import make_findings, make_gpus, make_processes
from tests.support.ticking import WALL, Broker


def test_a_fleet_begins_with_its_configured_hosts_missing() -> None:
    document = Broker(hosts=("a", "b")).published.document
    assert document["hosts"] == {"a": {"state": "missing"}, "b": {"state": "missing"}}
    assert document["totals"]["hosts"] == 2 and document["totals"]["hosts_missing"] == 2


def test_a_live_host_is_counted() -> None:
    broker = Broker(hosts=("node1",))
    broker.live()
    totals = broker.published.document["totals"]
    assert (totals["hosts_live"], totals["hosts_missing"], totals["gpus"]) == (1, 0, 2)
    assert broker.published.document["users"]["alice"]["hosts"] == ["node1"]


def test_without_changes_only_a_heartbeat_per_second_is_sent() -> None:
    broker = Broker()
    broker.live()
    patches = [broker.tick(1.0 + tenth / 10) for tenth in range(1, 21)]
    assert [patch.keys() for patch in patches if patch] == [{"now"}, {"now"}]


def test_a_stale_host_keeps_its_values_and_counts_nowhere() -> None:
    broker = Broker()
    broker.live()
    patch = broker.tick(3.5)
    host = broker.published.document["hosts"]["node1"]
    assert host["state"] == "stale" and host["gpus"]["memory_used_mib"]
    assert host["gpus"]["use"] == [None, None]
    assert patch["hosts"]["node1"]["state"] == "stale"
    assert patch["users"] == {"alice": None} and patch["totals"]["gpus"] == 0


def test_the_bookkeeping_of_a_host_that_turns_stale_is_exact_at_once() -> None:
    broker = Broker()
    broker.live()
    for second in range(2, 6):
        broker.send(float(second), collector={"memory_mib": second})
        broker.tick(float(second))
    broker.tick(8.0)
    host = broker.published.document["hosts"]["node1"]
    assert host["heard_at"] == WALL + 5.0 and host["collector"] == {"memory_mib": 5}
    assert host["sequence"] == broker.sequence


def test_the_bookkeeping_of_a_live_host_is_sent_every_10_s() -> None:
    broker = Broker()
    broker.live()
    carried = 0
    for second in range(2, 62):
        broker.send(float(second))
        carried += "heard_at" in broker.tick(float(second)).get("hosts", {}).get("node1", {})
    assert carried == 6


def test_a_health_reason_is_sent_at_once_and_kept_when_the_host_turns_stale() -> None:
    broker = Broker()
    broker.live()
    health_reasons: list[list[str] | None] = [["a row waits"], None]
    broker.send(2.0, gpus=make_gpus(2, state=["ok", "lost"], health_reasons=health_reasons))
    assert broker.tick(2.0)["hosts"]["node1"]["gpus"]["health_reasons"] == health_reasons
    assert "health_reasons" not in str(broker.tick(9.0))
    assert broker.published.document["hosts"]["node1"]["gpus"]["health_reasons"] == health_reasons


def test_slow_values_are_sent_every_5_s_at_most_and_fast_ones_at_once() -> None:
    broker = Broker()
    broker.live()
    slow = fast = 0
    for second in range(2, 62):
        values = {"fan_percent": [second] * 2, "temperature_celsius": [second] * 2}
        broker.send(float(second), gpus=make_gpus(2, **values))
        gpus = broker.tick(float(second))["hosts"]["node1"]["gpus"]
        slow += "fan_percent" in gpus
        fast += "temperature_celsius" in gpus
    assert (slow, fast) == (12, 60)


def test_a_held_gpu_turns_idle_with_time_alone() -> None:
    broker = Broker(held_idle_after=10.0)
    held = make_gpus(2, memory_used_mib=[9000, 4], idle_since=[WALL, WALL])
    uses = []
    for second in range(15):
        broker.send(float(second), gpus=held)
        broker.tick(float(second))
        if "node1" in broker.published.document["hosts"]:
            uses.append(broker.published.document["hosts"]["node1"]["gpus"]["use"][0])
    assert uses == ["busy"] * 9 + ["held_idle"] * 5
    assert broker.published.document["totals"]["gpus_held_idle"] == 1


def test_two_collectors_are_a_finding_with_the_time_since_when() -> None:
    broker = Broker()
    for second in range(5):
        broker.send(float(second), run_id="1", boot_id="first")
        broker.send(second + 0.5, run_id="2", boot_id="second", gpus=make_gpus(1))
        broker.tick(second + 0.5)
    host = broker.published.document["hosts"]["node1"]
    assert host["state"] == "conflict" and host["findings"]["kind"] == ["conflict"]
    assert "two collectors" in host["findings"]["words"][0]
    assert host["findings"]["severity"] == ["critical"]
    assert host["findings"]["since"] == [WALL + 2]
    assert len(host["gpus"]["index"]) == 2
    assert broker.published.document["totals"]["gpus"] == 0


def test_a_forgotten_host_leaves_the_document() -> None:
    broker = Broker(forget_after=100.0)
    broker.live()
    broker.tick(50.0)
    assert broker.tick(200.0)["hosts"] == {"node1": None}
    assert broker.published.document["totals"]["hosts"] == 0


def test_refusals_are_counted_in_the_document() -> None:
    broker = Broker()
    broker.tick(0.0, {"msgpack": 3})
    assert broker.tick(0.1, {"msgpack": 3, "old": 1})["broker"] == {"refused": {"old": 1}}


def test_only_changed_members_of_the_load_are_published() -> None:
    broker = Broker()
    broker.tick(0.0, load={"messages": 3, "waiting_messages": 1})
    assert broker.tick(0.1, load={"messages": 5, "waiting_messages": 1})["broker"] == {
        "load": {"messages": 5}
    }
    assert broker.tick(0.2, load={"messages": 5, "waiting_messages": 1}) == {}
    assert broker.followed["broker"]["load"] == {"messages": 5, "waiting_messages": 1}


def test_settings_and_warnings_are_in_the_document() -> None:
    document = Broker(rpc_timeout=4.0, tick=0.2, simulated=True, warnings=("w",)).followed
    assert document["stale_after_seconds"] == 4.0 and document["tick_seconds"] == 0.2
    assert document["simulated"] is True and document["broker"]["warnings"] == ["w"]


percents = st.lists(st.one_of(st.none(), st.integers(0, 100)), min_size=2, max_size=2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["node1", "node2", "node3"]),
            percents,
            st.sampled_from(["alice", "bob", None]),
            st.sampled_from([(), ("xid",), ("xid", "ecc")]),
            st.sampled_from([0.0, 4.5, -60.0]),
            st.floats(0.0, 4.0),
        ),
        max_size=15,
    )
)
def test_patches_always_add_up_to_the_document(
    events: list[tuple[str, list[int | None], str | None, tuple[str, ...], float, float]],
) -> None:
    broker, now = Broker(hosts=("node1",), forget_after=5.0), 0.0
    for name, percent, user, kinds, ahead, pause in events:
        now += pause
        gpus = make_gpus(2, utilization_percent=percent, fan_percent=percent)
        members = {"gpus": gpus, "processes": make_processes(user=[user])}
        members["findings"] = make_findings(*kinds)
        broker.send(now, name, sampled_at=WALL + now + ahead, **members)
        broker.tick(now)
    states = [host["state"] for host in broker.followed["hosts"].values()]
    totals = broker.followed["totals"]
    assert totals["hosts"] == len(states) and totals["hosts_live"] == states.count("live")
    assert totals["gpus"] == 2 * states.count("live")


moves = st.fixed_dictionaries(
    {},
    optional={
        "utilization_percent": percents,
        "memory_used_mib": st.lists(st.integers(0, 80_000), min_size=2, max_size=2),
        "fan_percent": percents,
        "idle_since": st.lists(st.sampled_from([None, WALL]), min_size=2, max_size=2),
    },
)
jobs = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from([["alice"], ["bob"]]),
        "gpu_memory_mib": st.sampled_from([[1], [2], [None]]),
        "idle_since": st.sampled_from([[None], [WALL]]),
    },
)


@given(
    st.lists(st.tuples(moves, jobs, st.integers(0, 2), st.sampled_from([0.4, 1.0])), max_size=12)
)
def test_messages_read_by_their_numbers_are_published_like_those_read_in_full(
    steps: list[tuple[dict[str, Any], dict[str, Any], int, float]],
) -> None:
    """A member that no two messages have alike makes the second broker read each in full."""
    quick, full, at = Broker(), Broker(), 0.0
    for number, (moved, job, load, pause) in enumerate(
        [*steps, ({}, {}, 1, 1.0), ({}, {}, 2, 5.0)]
    ):
        at += pause
        members: dict[str, Any] = {
            "gpus": make_gpus(2, **moved),
            "processes": make_processes(**job),
            "system": {"hostname": "node1", "cpu_percent": load, "load_1m": load},
            "collector": {"version": "0.1.0", "cpu_percent": load, "memory_mib": 25},
        }
        quick.send(at, **members)
        full.send(at, **members, number=number)
        if pause >= 1.0:
            quick.tick(at)
            full.tick(at)
        for host in full.published.document["hosts"].values():
            host.pop("number", None)
            full.followed["hosts"]["node1"].pop("number", None)
        assert quick.published.document["hosts"] == full.published.document["hosts"]
    assert quick.published.document == full.published.document


def test_users_are_published_in_the_order_in_which_they_were_received() -> None:
    broker = Broker()
    names = [f"user{number}" for number in range(12)]
    for at in (0.0, 1.0):
        for number, name in enumerate(reversed(names)):
            broker.send(at, f"node{number}", processes=make_processes(user=[name]))
    assert list(broker.tick(1.0)["users"]) == names[::-1]
