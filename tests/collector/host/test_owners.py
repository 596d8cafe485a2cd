"""The owner of a process that runs as root or as a user without a name."""

import threading
from pathlib import Path

import pytest

from gpu_monitor.collector.host.processes import ProcessTable
from gpu_monitor.collector.host.users import UserNames
from tests.support.processes import DEADLINE, NO_SUCH_PID, write_process

SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"


@pytest.mark.parametrize(
    ("uid", "group", "user", "effective_user"),
    [
        (0, SESSION, "alice", "root"),
        (100999, SESSION, "alice", "uid 100999"),
        (1001, SESSION, "bob", None),  # by su: this user has a name
        (1000, SESSION, "alice", None),
        (0, "0::/system.slice/ollama.service\n", "root", None),
        (0, "0::/user.slice/user-0.slice/session-1.scope\n", "root", None),
        (0, "0::/user.slice/user-4711.slice/session-1.scope\n", "uid 4711", "root"),
    ],
)
def test_a_process_of_root_or_a_nameless_uid_belongs_to_the_session_owner(
    tmp_path: Path,
    uid: int,
    group: str,
    user: str,
    effective_user: str | None,
) -> None:
    write_process(tmp_path, uid=uid, group=group)
    names = {0: "root", 1000: "alice", 1001: "bob"}
    groups = {uid: f"group of {name}" for uid, name in names.items()}
    users = UserNames(names.get, DEADLINE, look_up_group=groups.get)

    facts = ProcessTable("name", users, str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID]

    assert (facts.uid, facts.user, facts.effective_user) == (uid, user, effective_user)
    assert facts.group == (None if user.startswith("uid ") else f"group of {user}")


def test_the_owner_is_not_guessed_while_the_name_service_is_silent(
    tmp_path: Path,
) -> None:
    write_process(tmp_path, uid=1001, group=SESSION)
    answer = threading.Event()

    def look_up(uid: int) -> str | None:
        answer.wait(DEADLINE)
        return {1000: "alice", 1001: "bob"}[uid]

    processes = ProcessTable("name", UserNames(look_up, 0.0), str(tmp_path))
    facts = processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID]
    answer.set()

    assert (facts.user, facts.effective_user) == ("uid 1001", None)
