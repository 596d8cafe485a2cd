"""busy, free, held idle or none of them."""

from typing import Any

import pytest

from gpu_monitor.broker.gpu_use import NEVER, UseLimits, use_of
from gpu_monitor.broker.seats import seats
from gpu_monitor.wire.document import Table
from tests.support.snapshots import make_gpus

LIMITS = UseLimits(free_memory_mib=500, held_idle_after=1800.0)
NOW = 1_700_010_000.0
LONG, SHORT = NOW - 1800.0, NOW - 1799.0


def use(gpus: dict[str, Any], processes: dict[str, Any] | None = None) -> list[str | None]:
    processes = processes or {}
    return use_of(gpus, seats(gpus, processes), NOW, LIMITS)[0]


@pytest.mark.parametrize(
    ("used_mib", "idle_since", "expected"),
    [
        (0, LONG, "free"),
        (499, LONG, "free"),
        (499, None, "free"),
        (500, None, "busy"),
        (500, SHORT, "busy"),
        (500, LONG, "held_idle"),
        (None, LONG, "busy"),
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
    seated = seats(gpus, processes, ("tritonserver", "python serve.py"))
    assert use_of(gpus, seated, NOW, LIMITS) == (["free", expected], NEVER)


def test_other_processes_may_be_idle_beside_a_never_idle_command() -> None:
    gpus = make_gpus(2, state=["ok", "lost"], idle_since=[LONG, LONG])
    processes: Table = {"gpu": [0, 0, 1], "pid": [1, 2, 3], "command": ["train", "serve", "serve"]}
    assert use(gpus, processes) == ["held_idle", None]
    assert use_of(gpus, seats(gpus, processes, ("serve",)), NOW, LIMITS)[0] == ["busy", None]


def test_never_idle_has_no_effect_where_a_host_sends_no_commands() -> None:
    gpus = make_gpus(1, idle_since=[LONG])
    seated = seats(gpus, {"gpu": [0], "pid": [1]}, ("serve",))
    assert use_of(gpus, seated, NOW, LIMITS)[0] == ["held_idle"]


def test_the_time_at_which_a_held_gpu_becomes_idle_is_known() -> None:
    gpus = make_gpus(3, memory_used_mib=[900] * 3, idle_since=[NOW - 100, NOW - 50, LONG])
    column, changes_at = use_of(gpus, seats(gpus, {}), NOW, LIMITS)
    assert changes_at == NOW - 100 + 1800.0
    assert use_of(gpus, seats(gpus, {}), changes_at, LIMITS)[0][0] == "held_idle"
    assert column == ["busy", "busy", "held_idle"]


def test_the_required_columns_suffice() -> None:
    gpus: dict[str, list[Any]] = {"index": [0, 1], "state": ["ok", "ok"]}
    assert use_of(gpus, seats(gpus, {}), NOW, LIMITS) == (["busy", "busy"], NEVER)
    assert use(gpus, {"gpu": [1], "pid": [1]}) == ["busy", "busy"]
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
