"""Processes that tests start, and folders in place of the kernel's /proc."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from gpu_monitor.collector.host.containers import ContainerNames
from gpu_monitor.collector.host.processes import ProcessTable
from gpu_monitor.collector.host.users import UserNames
from gpu_monitor.collector.settings import Commands

DEADLINE = 30.0

Child = Callable[[], "subprocess.Popen[bytes]"]

NO_SUCH_PID = 2**22 + 1
"""Above the highest pid of any kernel: a test's own /proc may use it for any process."""


def table(
    commands: Commands = "name",
    proc: str = "/proc",
    settle: float = 0.0,
    containers: ContainerNames | None = None,
) -> ProcessTable:
    users = UserNames({1000: "alice"}.get, DEADLINE, look_up_group={1000: "physics"}.get)
    return ProcessTable(commands, users, proc, settle, containers)


def write_process(
    proc: Path,
    ticks: int = 4711,
    uid: int = 1000,
    command: bytes = b"python\0train.py\0",
    state: str = "S",
    switches: int = 1,
    threads: int | str = 1,
    group: str = "0::/system.slice/slurmstepd.scope/job_12/step_0\n",
    used_ticks: int = 0,
    pages: int = 300,
) -> None:
    folder = proc / str(NO_SUCH_PID)
    folder.mkdir(parents=True, exist_ok=True)
    before, after = " ".join(["0"] * 10), " ".join(["0"] * 4)
    zeros = f"{before} {used_ticks} 0 {after}"
    stat = f"{NO_SUCH_PID} (a ) b (c) {state} {zeros} {threads} 0 {ticks} 0 {pages}"
    (folder / "stat").write_text(stat)
    (folder / "status").write_text(
        f"Name:\tpython\nUmask:\t0022\nUid:\t{uid}\t0\t0\t0\n"
        f"voluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t0\n"
    )
    (folder / "cmdline").write_bytes(command)
    (folder / "cgroup").write_text(group)
