"""pids become users, commands and start times."""

import gc
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import collector.users
from collector.endings import Endings
from collector.processes import REFRESH_SECONDS, Processes, no_facts, start_ticks
from collector.readings import ProcessFacts
from collector.settings import Commands
from collector.users import Users

DEADLINE = 30.0
NO_SUCH_PID = 2**22 + 1
"""Above the highest pid of any kernel: what a test's own /proc may hold without meaning anyone."""

Child = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name service that answers is waited for, however busy the machine."""
    monkeypatch.setattr(collector.users, "PATIENCE_SECONDS", DEADLINE)


@pytest.fixture
def child() -> Iterator[Child]:
    """Starts processes that sleep, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(["python train.py", "600"], executable="/bin/sleep")
        started.append(process)
        give_up_at = time.monotonic() + DEADLINE
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is still about to exec
            assert time.monotonic() < give_up_at
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def table(commands: Commands = "name", proc: str = "/proc") -> Processes:
    return Processes(commands, Users(lambda uid: {1000: "alice"}.get(uid)), proc)


def write_process(
    proc: Path, ticks: int = 4711, uid: int = 1000, command: bytes = b"python\0train.py\0"
) -> None:
    folder = proc / str(NO_SUCH_PID)
    folder.mkdir(parents=True, exist_ok=True)
    zeros = " ".join(["0"] * 18)
    (folder / "stat").write_text(f"{NO_SUCH_PID} (a ) b (c) S {zeros} {ticks} 0 0")
    (folder / "status").write_text(f"Name:\tpython\nUmask:\t0022\nUid:\t{uid}\t0\t0\t0\n")
    (folder / "cmdline").write_bytes(command)
    (folder / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_12/step_0\n")


def test_a_process_has_its_user_command_and_start() -> None:
    started = Path(f"/proc/{os.getpid()}").stat().st_ctime
    facts = Processes("name", Users()).facts([os.getpid()], 0.0)[os.getpid()]

    assert facts.uid == os.getuid()
    assert facts.user == pwd.getpwuid(os.getuid()).pw_name
    assert facts.command is not None and facts.command.startswith("python")
    assert facts.started_ticks is not None
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert boot + facts.started_ticks / 100 <= started + 1


def test_all_facts_of_a_process_are_read(tmp_path: Path) -> None:
    write_process(tmp_path)

    assert table(proc=str(tmp_path)).facts([NO_SUCH_PID], 0.0) == {
        NO_SUCH_PID: ProcessFacts(
            NO_SUCH_PID, 4711, 1000, "alice", "python train.py", container=None, job="12"
        )
    }


def test_a_process_that_is_gone_or_hidden_costs_its_row_only() -> None:
    facts = table().facts([NO_SUCH_PID, os.getpid()], 0.0)

    assert facts[NO_SUCH_PID] == ProcessFacts(NO_SUCH_PID)
    assert facts[os.getpid()].uid is not None


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    write_process(tmp_path)
    processes = table(proc=str(tmp_path))
    processes.facts([NO_SUCH_PID], 0.0)
    write_process(tmp_path, ticks=9999, uid=7, command=b"rm\0")

    facts = processes.facts([NO_SUCH_PID], 1.0)[NO_SUCH_PID]

    assert (facts.started_ticks, facts.user, facts.command) == (9999, "uid 7", "rm")


def test_a_process_that_execs_is_read_again_after_a_while(tmp_path: Path) -> None:
    write_process(tmp_path, command=b"bash\0")
    processes = table(proc=str(tmp_path))
    processes.facts([NO_SUCH_PID], 0.0)
    write_process(tmp_path)

    commands = [
        processes.facts([NO_SUCH_PID], now)[NO_SUCH_PID].command for now in (1.0, REFRESH_SECONDS)
    ]

    assert commands == ["bash", "python train.py"]


def test_a_process_that_is_not_asked_for_is_forgotten(child: Child) -> None:
    processes = table()
    gc.collect()  # what other tests have left must not be closed in between
    descriptors = len(os.listdir("/proc/self/fd"))
    processes.facts([child().pid, child().pid], 0.0)

    processes.facts([], 1.0)

    assert processes._known == {}
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_process_that_ends_loses_its_facts(child: Child) -> None:
    processes, process = table(), child()
    alive = processes.facts([process.pid], 0.0)[process.pid]
    process.kill()
    process.wait()

    assert alive.command == "python train.py"
    assert processes.facts([process.pid], 1.0)[process.pid] == ProcessFacts(process.pid)


def test_a_zombie_has_its_name_and_user(child: Child) -> None:
    process = child()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    facts = table().facts([process.pid], 0.0)[process.pid]

    assert facts.command == "sleep" and facts.uid == os.getuid()


def test_processes_that_come_and_go_fast_raise_nothing() -> None:
    processes = table()
    code = "import os\nfor _ in range(300):\n    if not os.fork(): os._exit(0)\n    os.wait()"
    with subprocess.Popen([sys.executable, "-c", code]) as forks:
        while forks.poll() is None:
            processes.facts(range(forks.pid, forks.pid + 310), time.monotonic())

    assert forks.returncode == 0


def test_at_level_off_no_command_is_read(tmp_path: Path) -> None:
    write_process(tmp_path)

    assert table("off", str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].command is None


def test_a_command_in_no_encoding_is_text(tmp_path: Path) -> None:
    write_process(tmp_path, command=b"/bin/\xff\xfe\x1b[31mx\0--y\0")

    command = table("full", str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].command

    assert command == "/bin/��[31mx --y"


def test_in_a_pid_namespace_of_its_own_a_pid_is_nobodys() -> None:
    assert no_facts([os.getpid()], 0.0) == {os.getpid(): ProcessFacts(os.getpid())}


@pytest.mark.parametrize("name", ["x", "a b", "a) S 1 (b", ")"])
def test_the_start_is_found_whatever_the_name(name: str) -> None:
    stat = f"7 ({name}) S " + " ".join(str(field) for field in range(4, 53))

    assert start_ticks(stat.encode()) == 22


def test_a_process_that_ended_is_told(child: Child) -> None:
    endings, process = Endings(), child()
    assert endings.follow(process.pid) and endings.follows(process.pid)
    before = endings.ended()

    process.kill()
    process.wait()

    assert before == set()
    assert endings.ended() == {process.pid}
    endings.forget(process.pid)
    assert endings.ended() == set() and not endings.follows(process.pid)


def test_a_process_that_is_not_there_is_not_followed() -> None:
    assert not Endings().follow(NO_SUCH_PID)
