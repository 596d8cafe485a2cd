"""busy, free, held idle or none of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.gpu_use import NEVER, UseLimits, Uses, use_of
from gpu_monitor.broker.seats import seats
from gpu_monitor.wire.document import Table
from tests.support.snapshots import make_gpus

LIMITS = UseLimits(free_memory_mib=500, held_idle_after=1800.0)
NOW = 1_700_010_000.0
LONG, SHORT = NOW - 1800.0, NOW - 1799.0


def uses(gpus: dict[str, Any], processes: dict[str, Any], never_idle: tuple[str, ...] = ()) -> Uses:
    return use_of(gpus, processes, seats(gpus, processes, never_idle), NOW, LIMITS)


def use(gpus: dict[str, Any], processes: dict[str, Any] | None = None) -> list[str | None]:
    processes = processes or {}
    return uses(gpus, processes).use


@pytest.mark.parametrize(
    ("used_mib", "idle_since", "expected"),
    [
        (0, LONG, "free"),
        (499, LONG, "free"),
        (499, None, "free"),
        (500, None, "busy"),
        (500, SHORT, "busy"),
        (500, LONG, "held_idle"),
        (None, LONG, None),
    ],
)
def test_a_gpu_without_a_process_is_judged_by_its_memory(
    used_mib: int | None, idle_since: float | None, expected: str
) -> None:
    gpus = make_gpus(1, memory_used_mib=[used_mib], idle_since=[idle_since])
    assert use(gpus) == [expected]


@pytest.mark.parametrize(
    ("kind", "idle_since", "expected"),
    [
        ("C", None, "busy"),
        ("C", SHORT, "busy"),
        ("C", LONG, "held_idle"),
        ("C+G", LONG, "held_idle"),
        ("G", LONG, "free"),
        (None, None, "busy"),
    ],
)
def test_a_compute_process_holds_its_gpu_however_little_memory_it_uses(
    kind: str | None, idle_since: float | None, expected: str
) -> None:
    gpus = make_gpus(1, memory_used_mib=[4], idle_since=[idle_since])
    assert use(gpus, {"gpu": [0], "pid": [1], "type": [kind]}) == [expected]


@pytest.mark.parametrize("state", ["lost", "asleep", "error"])
def test_a_gpu_that_is_not_ok_has_no_use(state: str) -> None:
    assert use(make_gpus(2, state=[state, "ok"])) == [None, "free"]


def test_mig_slices_have_a_use_and_their_gpu_has_none() -> None:
    gpus = make_gpus(4, parent=[None, 0, 0, None])
    processes = {"gpu": [1], "pid": [1], "type": ["C"]}
    assert use(gpus | {"idle_since": [None] * 4}, processes) == [None, "busy", "free", "free"]


def test_used_unified_memory_does_not_make_a_gpu_held() -> None:
    gpus = make_gpus(2, memory_kind=["unified"] * 2, memory_used_mib=[90_000] * 2)
    processes = {"gpu": [1], "pid": [1], "type": ["C"]}
    assert use(gpus | {"idle_since": [None] * 2}, processes) == ["free", "busy"]


@pytest.mark.parametrize(
    ("command", "kind", "expected"),
    [
        ("python serve.py", "C", "busy"),
        ("python serve.py --port 8000", "C+G", "busy"),
        ("python serve.py", None, "busy"),
        ("python serve.pyc", "C", "held_idle"),
        ("my python serve.py", "C", "held_idle"),
        ("Python serve.py", "C", "held_idle"),
        (None, "C", "held_idle"),
        ("python serve.py", "G", "free"),
    ],
)
def test_a_never_idle_command_keeps_its_gpu_busy(
    command: str | None, kind: str | None, expected: str
) -> None:
    gpus = make_gpus(2, idle_since=[LONG, LONG])
    processes: Table = {"gpu": [1], "pid": [1], "type": [kind], "command": [command]}
    found = uses(gpus, processes, ("tritonserver", "python serve.py"))
    assert (found.use, found.changes_at) == (["free", expected], NEVER)


def test_other_processes_may_be_idle_beside_a_never_idle_command() -> None:
    gpus = make_gpus(2, state=["ok", "lost"], idle_since=[LONG, LONG])
    processes: Table = {"gpu": [0, 0, 1], "pid": [1, 2, 3], "command": ["train", "serve", "serve"]}
    assert use(gpus, processes) == ["held_idle", None]
    assert uses(gpus, processes, ("serve",)).use == ["busy", None]


def test_never_idle_has_no_effect_where_a_host_sends_no_commands() -> None:
    gpus = make_gpus(1, idle_since=[LONG])
    assert uses(gpus, {"gpu": [0], "pid": [1]}, ("serve",)).use == ["held_idle"]


def test_the_time_at_which_a_held_gpu_becomes_idle_is_known() -> None:
    gpus = make_gpus(3, memory_used_mib=[900] * 3, idle_since=[NOW - 100, NOW - 50, LONG])
    found = uses(gpus, {})
    assert found.changes_at == NOW - 100 + 1800.0
    later = use_of(gpus, {}, seats(gpus, {}), found.changes_at, LIMITS)
    assert later.use[0] == "held_idle"
    assert found.use == ["busy", "busy", "held_idle"]


def test_the_required_columns_suffice() -> None:
    gpus: dict[str, list[Any]] = {"index": [0, 1], "state": ["ok", "ok"]}
    assert use(gpus) == [None, None]
    assert use(gpus, {"gpu": [1], "pid": [1]}) == [None, "busy"]
    assert use({}) == []


def test_a_user_is_counted_once_on_each_gpu() -> None:
    processes: dict[str, list[Any]] = {
        "gpu": [0, 0, 1, 1],
        "pid": [1, 2, 3, 4],
        "user": ["alice", "alice", "bob", None],
        "type": ["C"] * 4,
    }
    users = seats(make_gpus(2), processes).users
    assert {name: (seat.gpus, seat.processes) for name, seat in users.items()} == {
        "alice": (1, 2),
        "bob": (1, 1),
    }
    assert users["alice"].own("abcd") == ("a", "b") and users["bob"].rows("xy") == ("y",)


def vacant(**columns: Any) -> tuple[str | None, str | None]:
    """The use of a GPU without a process, and the reason."""
    gpus = make_gpus(1, **{key: [value] for key, value in columns.items()})
    found = uses(gpus, {})
    return found.use[0], found.reasons[0]


def test_a_free_gpu_needs_no_reason() -> None:
    assert vacant() == ("free", None)
    assert vacant(activity="unmeasured", utilization_percent=None) == ("free", None)


def test_work_without_a_visible_process_is_use() -> None:
    busy = ("busy", "in use in the last 30 s, compute process not visible")
    assert vacant(activity="working") == busy
    assert vacant(activity="working", memory_used_mib=None) == busy
    assert vacant(activity="working", memory_kind="unified") == busy
    assert vacant(activity="working", processes_unread="not supported") == busy


def test_what_is_not_known_is_never_free() -> None:
    assert vacant(activity=None) == (None, "its utilization over the last 30 s is not known")
    assert vacant(activity="of a newer collector")[0] is None
    assert vacant(compute_mode="number 7") == (
        None,
        "compute mode number 7: not known whether a process may use it",
    )
    assert vacant(memory_used_mib=None) == (None, "its memory use is not known")
    assert vacant(memory_kind="unified", activity=None)[0] is None


@pytest.mark.parametrize("kind", ["device", "unified", "numa"])
def test_without_processes_and_utilization_nothing_is_known(kind: str) -> None:
    unread = {"processes_unread": "not supported", "memory_kind": kind}
    assert vacant(**unread, activity="unmeasured") == (None, "its processes cannot be read")


@pytest.mark.parametrize(("kind", "use"), [("device", "free"), ("unified", "free"), ("numa", None)])
def test_without_processes_a_quiet_gpu_is_free_unless_its_memory_tells_nothing(
    kind: str, use: str | None
) -> None:
    assert vacant(processes_unread="not supported", memory_kind=kind)[0] == use


def test_mig_mode_without_slices_is_neither_free_nor_busy() -> None:
    divided = {"mig_mode": "enabled", "activity": "unmeasured", "utilization_percent": None}
    assert vacant(**divided) == (None, "MIG mode is on, but no slice exists or is visible")
    gpus = make_gpus(2, parent=[None, 0], mig_mode=["enabled", None])
    assert use(gpus) == [None, "free"]
    seen = make_gpus(1, mig_mode=["enabled"], idle_since=[None])
    assert use(seen, {"gpu": [0], "pid": [1]}) == ["busy"]


@pytest.mark.parametrize("mode", ["prohibited", "exclusive_process", "exclusive_thread", "default"])
def test_only_a_prohibited_gpu_keeps_out_a_first_process(mode: str) -> None:
    expected = (None, "compute mode prohibited: no process may use it")
    assert vacant(compute_mode=mode) == (expected if mode == "prohibited" else ("free", None))


@pytest.mark.parametrize(
    ("kind", "mps", "use", "reason"),
    [
        ("C", None, "busy", "compute mode exclusive_process: no other process may use it"),
        ("C+G", None, "busy", "compute mode exclusive_process: no other process may use it"),
        ("G", None, "free", None),
        ("C", "server", "free", None),
        ("C", "client", "busy", "compute mode exclusive_process: no other process may use it"),
    ],
)
def test_an_exclusive_gpu_is_for_the_compute_process_on_it(
    kind: str, mps: str | None, use: str, reason: str | None
) -> None:
    gpus = make_gpus(1, compute_mode=["exclusive_process"], idle_since=[None])
    found = uses(gpus, {"gpu": [0], "pid": [1], "type": [kind], "mps": [mps]})
    assert (found.use, found.reasons) == ([use], [reason])


def test_an_exclusive_gpu_whose_processes_are_unread_may_be_taken() -> None:
    taken = {"compute_mode": "exclusive_process", "processes_unread": "no permission"}
    assert vacant(**taken) == (None, "its processes cannot be read")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("prohibited", [None, None, None]), ("exclusive_process", [None, "busy", "free"])],
)
def test_slices_have_the_compute_mode_of_their_gpu(mode: str, expected: list[str | None]) -> None:
    gpus = make_gpus(3, parent=[None, 0, 0], compute_mode=[mode, None, None])
    gpus |= {"mig_mode": ["enabled", None, None], "idle_since": [None] * 3}
    processes = {"gpu": [1], "pid": [1], "type": ["C"]} if mode != "prohibited" else {}
    assert use(gpus, processes) == expected


def test_a_failed_card_is_not_free_nor_are_its_slices() -> None:
    assert vacant(health="failed", health_reasons=["x"]) == (None, "the GPU has failed")
    assert vacant(health="degraded", health_reasons=["x"]) == ("free", None)
    assert vacant(health=None) == ("free", None)
    assert use(make_gpus(2, parent=[None, 0], health=["failed", None])) == [None, None]


def test_memory_that_the_operating_system_uses_does_not_hold_a_gpu() -> None:
    assert vacant(memory_kind="numa", memory_used_mib=80_000) == ("free", None)
    assert vacant(memory_kind="unified", memory_used_mib=None) == ("free", None)
    gpus = make_gpus(1, memory_kind=["numa"], idle_since=[LONG])
    assert use(gpus, {"gpu": [0], "pid": [1], "type": ["C"]}) == ["held_idle"]


@pytest.mark.parametrize(
    ("used_mib", "server_mib", "expected"),
    [(30, 30, "free"), (700, 690, "free"), (1200, 690, "held_idle"), (700, None, "held_idle")],
)
def test_an_mps_server_alone_holds_nothing(
    used_mib: int, server_mib: int | None, expected: str
) -> None:
    gpus = make_gpus(1, memory_used_mib=[used_mib], idle_since=[LONG])
    server = {"gpu": [0], "pid": [1], "type": ["C"], "mps": ["server"]}
    assert use(gpus, server | {"gpu_memory_mib": [server_mib]}) == [expected]


def test_the_client_of_an_mps_server_holds_its_gpu() -> None:
    gpus = make_gpus(1, memory_used_mib=[40], idle_since=[LONG])
    both = {"gpu": [0, 0], "pid": [1, 2], "type": ["C", "C"], "mps": ["server", "client"]}
    assert use(gpus, both | {"gpu_memory_mib": [30, 10]}) == ["held_idle"]


def test_a_command_that_may_idle_does_not_make_an_mps_server_busy() -> None:
    server: Table = {"gpu": [0], "pid": [1], "command": ["serve"], "mps": ["server"]}
    assert uses(make_gpus(1), server, ("serve",)).use == ["free"]


@given(
    st.fixed_dictionaries(
        {
            "activity": st.sampled_from(["working", "quiet", "unmeasured", None]),
            "compute_mode": st.sampled_from(["default", "prohibited", "exclusive_process", None]),
            "mig_mode": st.sampled_from(["enabled", "disabled", None]),
            "memory_kind": st.sampled_from(["device", "unified", "numa", None]),
            "memory_used_mib": st.sampled_from([None, 0, 499, 500, 80_000]),
            "processes_unread": st.sampled_from([None, "no permission"]),
            "health": st.sampled_from(["ok", "degraded", "failed", None]),
        }
    )
)
def test_free_is_said_of_known_things_alone_and_anything_else_is_explained(
    columns: dict[str, Any],
) -> None:
    verdict, reason = vacant(**columns, idle_since=None)
    if verdict == "free":
        assert columns["activity"] in ("quiet", "unmeasured") and reason is None
        assert columns["compute_mode"] != "prohibited" and columns["health"] != "failed"
        assert columns["mig_mode"] != "enabled"
    elif (columns["memory_used_mib"] or 0) < 500:
        assert reason
