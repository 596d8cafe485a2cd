"""pids become users, commands and start times."""

import gc
import mmap
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.host.process_load import PROCESS_LOAD_SECONDS
from gpu_monitor.collector.host.processes import (
    PROCESS_REFRESH_SECONDS,
    ProcessFacts,
    ProcessTable,
    no_facts,
)
from gpu_monitor.collector.host.procfs import start_ticks
from gpu_monitor.collector.host.users import UserNames, user_name
from gpu_monitor.collector.settings import Commands
from gpu_monitor.collector.source_guard import SourceGuard
from tests.support.processes import DEADLINE, NO_SUCH_PID, Child, table, write_process


def test_a_process_has_its_user_command_and_start() -> None:
    started = Path(f"/proc/{os.getpid()}").stat().st_ctime
    facts = ProcessTable("name", UserNames(user_name, DEADLINE)).facts([os.getpid()], 0.0)[
        os.getpid()
    ]

    assert facts.uid == os.getuid()
    assert facts.user == pwd.getpwuid(os.getuid()).pw_name
    assert facts.command is not None and facts.command.startswith("python")
    assert facts.started_ticks is not None
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert boot + facts.started_ticks / 100 <= started + 1


def test_all_facts_about_a_process_are_read(tmp_path: Path) -> None:
    write_process(tmp_path)

    assert table(proc=str(tmp_path)).facts([NO_SUCH_PID], 0.0) == {
        NO_SUCH_PID: ProcessFacts(
            NO_SUCH_PID,
            4711,
            1000,
            "alice",
            "python train.py",
            slurm_job_id="12",
            group="physics",
            host_memory_bytes=300 * mmap.PAGESIZE,
        )
    }


@pytest.mark.parametrize("commands", ["off", "name", "full"])
@pytest.mark.parametrize(
    ("command", "mps"),
    [
        (b"nvidia-cuda-mps-server\0", "server"),
        (b"/usr/bin/nvidia-cuda-mps-server\0-multiuser-server\0", "server"),
        (b"nvidia-cuda-mps-control\0-d\0", None),
        (b"python\0nvidia-cuda-mps-server\0", None),
        (b"", None),
    ],
)
def test_a_server_of_mps_is_known_by_its_program(
    tmp_path: Path, commands: Commands, command: bytes, mps: str | None
) -> None:
    write_process(tmp_path, command=command)
    assert table(commands, proc=str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].mps == mps


def test_the_load_of_a_process_is_known_from_the_second_reading_on(tmp_path: Path) -> None:
    write_process(tmp_path)
    processes = table(proc=str(tmp_path))
    first = processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID]
    write_process(tmp_path, used_ticks=1500, pages=512)
    second = processes.facts([NO_SUCH_PID], PROCESS_LOAD_SECONDS)[NO_SUCH_PID]

    assert (first.cpu_percent, first.host_memory_bytes) == (None, 300 * mmap.PAGESIZE)
    assert (second.cpu_percent, second.host_memory_bytes) == (300, 512 * mmap.PAGESIZE)


def test_a_process_that_is_over_has_no_load(tmp_path: Path) -> None:
    write_process(tmp_path)
    processes = table(proc=str(tmp_path))
    processes.facts([NO_SUCH_PID], 0.0)
    write_process(tmp_path, state="Z", used_ticks=1500)
    over = processes.facts([NO_SUCH_PID], PROCESS_REFRESH_SECONDS)[NO_SUCH_PID]

    assert (over.state, over.user, over.group) == ("zombie", "alice", "physics")
    assert over.cpu_percent is over.host_memory_bytes is None


def test_a_process_that_is_gone_or_hidden_costs_only_its_row() -> None:
    facts = table(settle=2.0).facts([NO_SUCH_PID, os.getpid()], 0.0)

    assert facts[NO_SUCH_PID] == ProcessFacts(NO_SUCH_PID)
    assert facts[os.getpid()].uid is not None


def test_a_reused_pid_is_another_process(tmp_path: Path) -> None:
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
        processes.facts([NO_SUCH_PID], now)[NO_SUCH_PID].command
        for now in (1.0, PROCESS_REFRESH_SECONDS)
    ]

    assert commands == ["bash", "python train.py"]


def test_a_process_that_is_no_longer_listed_is_forgotten(child: Child) -> None:
    processes = table()
    gc.collect()  # descriptors that other tests left must not be closed in between
    descriptors = len(os.listdir("/proc/self/fd"))
    processes.facts([child().pid, child().pid], 0.0)

    processes.facts([], 1.0)

    assert processes._known == {}
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_process_that_ends_keeps_its_facts_and_is_shown_as_ended(child: Child) -> None:
    processes, process = table(settle=2.0), child()
    alive = processes.facts([process.pid], 0.0)[process.pid]
    process.kill()
    process.wait()

    after = [processes.facts([process.pid], now)[process.pid] for now in (1.0, 2.9, 3.0)]

    assert alive.command == "python train.py" and alive.state is None
    over = alive._replace(cpu_percent=None, host_memory_bytes=None)
    assert after == [over, over, over._replace(state="ended")]


def test_a_process_that_ended_before_it_was_seen_is_shown_as_ended() -> None:
    processes = table(settle=2.0)

    states = [processes.facts([NO_SUCH_PID], now)[NO_SUCH_PID].state for now in (0.0, 1.0, 2.0)]

    assert states == [None, None, "ended"]


def test_a_pid_that_is_reused_after_its_end_is_another_process(tmp_path: Path) -> None:
    write_process(tmp_path)
    processes = table(proc=str(tmp_path))
    processes.facts([NO_SUCH_PID], 0.0)
    shutil.rmtree(tmp_path / str(NO_SUCH_PID))
    ended = processes.facts([NO_SUCH_PID], 1.0)[NO_SUCH_PID]
    write_process(tmp_path, ticks=9999, uid=7)

    facts = processes.facts([NO_SUCH_PID], 2.0)[NO_SUCH_PID]

    assert (ended.user, ended.state) == ("alice", "ended")
    assert (facts.user, facts.state) == ("uid 7", None)


def test_a_zombie_has_its_name_and_user(child: Child) -> None:
    process = child()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    facts = table().facts([process.pid], 0.0)[process.pid]

    assert facts.command == "sleep" and facts.uid == os.getuid()
    assert facts.state == "zombie"


def test_a_zombie_that_was_known_before_keeps_its_command(child: Child) -> None:
    processes, process = table(), child()
    alive = processes.facts([process.pid], 0.0)[process.pid]
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    facts = [processes.facts([process.pid], now)[process.pid] for now in (1.0, 2.0)]

    over = alive._replace(cpu_percent=None, host_memory_bytes=None)
    assert facts == [over._replace(state="zombie")] * 2


def shown_states(proc: Path, *states: tuple[str, int]) -> list[str | None]:
    """What is shown for a process in each of these states with this number of switches."""
    processes = table(proc=str(proc))
    shown: list[str | None] = []
    for number, (state, switches) in enumerate(states):
        write_process(proc, state=state, switches=switches)
        now = number * PROCESS_REFRESH_SECONDS
        shown.append(processes.facts([NO_SUCH_PID], now)[NO_SUCH_PID].state)
    return shown


def test_a_process_that_stays_in_uninterruptible_sleep_is_stuck(tmp_path: Path) -> None:
    shown = shown_states(tmp_path, ("D", 7), ("D", 7), ("D", 7), ("D", 8), ("S", 8))

    assert shown == [None, "stuck", "stuck", None, None]


def test_a_process_that_often_waits_for_a_disk_is_not_stuck(tmp_path: Path) -> None:
    assert shown_states(tmp_path, ("D", 7), ("D", 8), ("S", 9), ("S", 9)) == [None] * 4


def test_a_thread_that_hangs_while_its_process_ends_makes_it_stuck(tmp_path: Path) -> None:
    processes = table(proc=str(tmp_path))
    write_process(tmp_path, state="Z", threads=2)
    own = tmp_path / str(NO_SUCH_PID)
    thread = own / "task" / "17"
    thread.mkdir(parents=True)
    (thread / "stat").write_text("17 (python) D 0 0")
    (thread / "status").write_text("voluntary_ctxt_switches:\t1\nvoluntary_ctxt_switches:\t2\n")

    shown = [
        processes.facts([NO_SUCH_PID], now)[NO_SUCH_PID].state
        for now in (0.0, PROCESS_REFRESH_SECONDS)
    ]

    assert shown == [None, "stuck"]


def test_a_process_whose_main_thread_has_ended_is_ordinary_while_others_run(
    tmp_path: Path,
) -> None:
    write_process(tmp_path, state="Z", threads=2)

    assert table(proc=str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].state is None


def test_invalid_data_about_a_zombie_raises_nothing(tmp_path: Path) -> None:
    write_process(tmp_path, state="Z", threads="?")

    assert table(proc=str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].state == "ended"


def test_a_process_that_proc_does_not_show_is_hidden(child: Child, tmp_path: Path) -> None:
    pid = child().pid  # it runs, but is not in this /proc

    assert table(proc=str(tmp_path)).facts([pid], 0.0)[pid] == ProcessFacts(pid, state="hidden")


@pytest.mark.processes
def test_short_lived_processes_raise_nothing() -> None:
    processes = table()
    code = "import os\nfor _ in range(300):\n    if not os.fork(): os._exit(0)\n    os.wait()"
    with subprocess.Popen([sys.executable, "-c", code]) as forks:
        while forks.poll() is None:
            processes.facts(range(forks.pid, forks.pid + 310), time.monotonic())

    assert forks.returncode == 0


def test_at_level_off_no_command_is_read(tmp_path: Path) -> None:
    write_process(tmp_path)

    assert table("off", str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].command is None


def test_a_command_in_no_known_encoding_is_text(tmp_path: Path) -> None:
    write_process(tmp_path, command=b"/bin/\xff\xfe\x1b[31mx\0--y\0")

    command = table("full", str(tmp_path)).facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].command

    assert command == "/bin/��[31mx --y"


def test_in_another_pid_namespace_every_process_is_hidden() -> None:
    pid = os.getpid()

    assert no_facts([pid], 0.0) == {pid: ProcessFacts(pid, state="hidden")}


@pytest.mark.parametrize("name", ["x", "a b", "a) S 1 (b", ")"])
def test_the_start_time_is_parsed_whatever_the_name(name: str) -> None:
    stat = f"7 ({name}) S " + " ".join(str(field) for field in range(4, 53))

    assert start_ticks(stat.encode()) == 22


def test_a_failure_costs_the_facts_about_one_process() -> None:
    class Broken(UserNames):
        def resolve(self, uid: int, now: float) -> str:
            raise ValueError("deep in a library")

    guard = SourceGuard()
    processes = ProcessTable("name", Broken(), guard=guard)
    facts: dict[int, ProcessFacts] = {}
    found: list[Finding] = []
    for _ in range(3):
        facts = processes.facts([os.getpid(), NO_SUCH_PID], 0.0)
        found = guard.settle()

    assert facts[os.getpid()] == ProcessFacts(os.getpid())
    assert facts[NO_SUCH_PID].state == "ended"
    assert [finding.line for finding in found] == [
        "a process's facts cannot be read: ValueError: deep in a library"
    ]


def test_an_impossible_pid_costs_only_its_row() -> None:
    assert table().facts([2**32 - 1], 0.0)[2**32 - 1].state == "ended"
