"""Totals and users: kept by adding and subtracting, the same as counted from scratch."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.gpu_use import UseLimits, use_of
from gpu_monitor.broker.host_count import Count, count
from gpu_monitor.broker.seats import seats
from gpu_monitor.broker.totals import Totals
from tests.support.snapshots import make_gpus

LIMITS = UseLimits(free_memory_mib=500, held_idle_after=1800.0)
NOW = 1_700_010_000.0


def counted(gpus: dict[str, Any], processes: dict[str, Any] | None = None) -> Count:
    processes = processes or {}
    seated = seats(gpus, processes)
    use = use_of(gpus, processes, seated, NOW, LIMITS).use
    return count(gpus, processes, use, seated)


def totals_of(*counts: Count) -> dict[str, Any]:
    totals = Totals()
    for number, one in enumerate(counts):
        totals.replace(f"node{number}", None, one)
    return dict(totals.document({"live": len(counts)}))


def processes_of(*rows: tuple[int, str | None, int | None]) -> dict[str, list[Any]]:
    """Compute processes as (row of gpus, user, GPU memory in MiB)."""
    return {
        "gpu": [row for row, _, _ in rows],
        "pid": list(range(len(rows))),
        "user": [user for _, user, _ in rows],
        "gpu_memory_mib": [memory for _, _, memory in rows],
        "started_at": [1000.0 + number for number in range(len(rows))],
        "type": ["C"] * len(rows),
    }


numbers = st.one_of(st.none(), st.integers(0, 90_000))
percents = st.lists(st.one_of(st.none(), st.integers(0, 100)), min_size=2, max_size=2)


@st.composite
def hosts(draw: st.DrawFn) -> Count | None:
    """A host with unknown values, slices and unified memory; None for a host that is not live."""
    if draw(st.integers(0, 4)) == 0:
        return None
    rows = draw(st.integers(0, 4))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    gpus = make_gpus(
        rows,
        state=column(st.sampled_from(["ok", "ok", "lost", "asleep"])),
        parent=column(st.one_of(st.none(), st.integers(0, max(0, rows - 1)))),
        memory_kind=column(st.sampled_from(["device", "unified", None])),
        memory_used_mib=column(numbers),
        power_watts=column(numbers),
        utilization_percent=column(st.one_of(st.none(), st.integers(0, 100))),
        idle_since=column(st.sampled_from([None, NOW - 5, NOW - 5000])),
    )
    users = st.sampled_from(["alice", "bob", "__proto__", None])
    rows_of = st.tuples(st.integers(0, max(0, rows - 1)), users, numbers)
    processes = draw(st.lists(rows_of, max_size=6 if rows else 0))
    return counted(gpus, processes_of(*processes))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), hosts()), max_size=12))
def test_totals_kept_over_time_equal_totals_counted_from_scratch(
    changes: list[tuple[str, Count | None]],
) -> None:
    kept, latest = Totals(), dict[str, Count | None]()
    for host, new in changes:
        kept.replace(host, latest.get(host), new)
        latest[host] = new
    scratch = Totals()
    for host, last in latest.items():
        scratch.replace(host, None, last)
    assert kept.document({}) == scratch.document({})
    for user in kept.changed_users:
        assert kept.user(user) == scratch.user(user)
    assert scratch.changed_users.keys() <= kept.changed_users.keys()


@given(st.lists(st.tuples(percents, percents, st.lists(numbers, min_size=3, max_size=3))))
def test_after_changed_numbers_totals_equal_those_counted_from_scratch(
    steps: list[tuple[Any, ...]],
) -> None:
    gpus = make_gpus(2)
    processes = processes_of((0, "alice", 1), (1, "alice", 2), (1, "bob", 3))
    seated, kept, counted_last = seats(gpus, processes), Totals(), counted(gpus, processes)
    kept.replace("node1", None, counted_last)
    for percent, watts, memory in steps:
        kept.changed_users.clear()
        before = {user: kept.user(user) for user in ("alice", "bob")}
        gpus |= {"utilization_percent": percent, "power_watts": watts}
        processes["gpu_memory_mib"] = memory
        use = use_of(gpus, processes, seated, NOW, LIMITS).use
        kept.update_gpus(counted_last, gpus, use, seated)
        kept.update_processes(counted_last, processes)
        scratch = Totals()
        scratch.replace("node1", None, counted(gpus, processes))
        assert kept.document({}) == scratch.document({})
        for user in before:
            assert kept.user(user) == scratch.user(user)
            assert user in kept.changed_users or kept.user(user) == before[user]
    kept.replace("node1", counted_last, None)
    assert kept.document({})["gpus"] == kept.document({})["users"] == 0


def test_every_total_is_in_the_document() -> None:
    gpus = make_gpus(
        4,
        state=["ok", "ok", "ok", "lost"],
        memory_used_mib=[10_000, 4, 10_000, None],
        memory_total_mib=[80_000, 80_000, 80_000, 80_000],
        power_watts=[300, 70, 100, None],
        utilization_percent=[90, 0, 0, None],
        idle_since=[None, None, NOW - 5000, None],
    )
    one = counted(gpus, processes_of((0, "alice", 9000), (2, "bob", 9000), (2, None, None)))
    totals = Totals()
    totals.replace("node1", None, one)
    assert totals.document({"live": 1, "stale": 2, "missing": 3, "conflict": 4}) == {
        "hosts": 10,
        "hosts_live": 1,
        "hosts_stale": 2,
        "hosts_missing": 3,
        "gpus": 4,
        "gpus_busy": 1,
        "gpus_free": 1,
        "gpus_held_idle": 1,
        "gpus_lost": 1,
        "memory_total_mib": 320_000,
        "memory_used_mib": 20_004,
        "power_watts": 470,
        "utilization_percent": 30,
        "users": 2,
        "processes": 3,
    }


def test_a_sum_that_no_gpu_reports_is_left_out_and_zero_is_zero() -> None:
    silent = totals_of(counted({"index": [0], "state": ["ok"]}))
    assert silent.keys().isdisjoint({"power_watts", "memory_used_mib", "utilization_percent"})
    empty = totals_of(counted({}))
    assert empty["power_watts"] == 0 and "utilization_percent" not in empty


def test_slices_are_counted_and_their_gpu_is_not_but_its_memory_and_power_are() -> None:
    gpus = make_gpus(
        3,
        parent=[None, 0, 0],
        memory_total_mib=[80_000, 40_000, 40_000],
        power_watts=[300, None, None],
        utilization_percent=[None, 40, 20],
        idle_since=[None] * 3,
    )
    totals = totals_of(counted(gpus, processes_of((1, "alice", 100))))
    assert (totals["gpus"], totals["gpus_busy"], totals["gpus_free"]) == (2, 1, 1)
    assert (totals["memory_total_mib"], totals["power_watts"]) == (80_000, 300)
    assert totals["utilization_percent"] == 30


def test_unified_memory_is_counted_once_per_host() -> None:
    gpus = make_gpus(2, memory_kind=["unified"] * 2, memory_total_mib=[120_000] * 2)
    assert totals_of(counted(gpus), counted(gpus))["memory_total_mib"] == 240_000


def test_a_shared_gpu_counts_once_per_user_and_once_in_total() -> None:
    gpus = make_gpus(2, utilization_percent=[80, 20], idle_since=[None, NOW - 5000])
    processes = processes_of((0, "alice", 100), (0, "bob", None), (1, "alice", 50))
    totals = Totals()
    totals.replace("node2", None, counted(gpus, processes))
    totals.replace("node1", None, counted(gpus, processes_of((0, "alice", 7))))
    assert totals.document({})["gpus"] == 4
    assert totals.user("alice") == {
        "gpus": 3,
        "gpu_memory_mib": 157,
        "processes": 3,
        "utilization_percent": 60,
        "held_idle_gpus": 1,
        "hosts": ["node1", "node2"],
        "oldest_started_at": 1000.0,
    }
    bob = totals.user("bob")
    assert bob is not None and "gpu_memory_mib" not in bob and bob["gpus"] == 1


def test_a_user_without_processes_is_removed() -> None:
    totals, one = Totals(), counted(make_gpus(1), processes_of((0, "alice", 1)))
    totals.replace("node1", None, one)
    totals.replace("node1", one, None)
    assert totals.user("alice") is None and totals.document({})["users"] == 0


def test_a_process_without_a_known_user_adds_no_user() -> None:
    assert totals_of(counted(make_gpus(1), processes_of((0, None, 1))))["users"] == 0
