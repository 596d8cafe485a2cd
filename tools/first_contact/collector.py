"""The real collector as its own process, pushing to a PULL socket of ours."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from gpu_monitor.wire.changes import Last, open_message, read_changes

from .record import Recorder, Unchecked

FIRST_SECONDS = 10.0
NEXT_SECONDS = 5.0
SLOW_SNAPSHOTS = 7
"""Slow columns are read every 5 s, staggered: from this snapshot on all have been read."""
CPUCLOCK_SCHED = 2
"""The kind of a process's clock, as clock_getcpuclockid(3) makes its number of the pid."""


class Collector:
    """A running collector; its snapshots pass the broker's own check."""

    def __init__(self, socket: "zmq.Socket[bytes]", child: "subprocess.Popen[bytes]") -> None:
        self._socket = socket
        self._child = child
        self.pid = child.pid

    def next_snapshot(self, seconds: float = NEXT_SECONDS) -> dict[str, Any]:
        """The next one, as a broker would accept it; Unchecked when none comes."""
        if not self._socket.poll(int(1000 * seconds)):
            raise Unchecked(f"the collector sent nothing for {seconds:.0f} s: {self._last_words()}")
        return dict(Last(read_changes(open_message(self._socket.recv()))).snapshot)

    def settle(self) -> dict[str, Any]:
        """The first snapshot in which slow columns have been read too."""
        for _ in range(SLOW_SNAPSHOTS - 2):  # the first one has been received
            self.next_snapshot()
        return self.next_snapshot()

    def snapshots(self, seconds: float) -> list[dict[str, Any]]:
        """All snapshots of the next seconds; at least one."""
        until = time.monotonic() + seconds
        found = [self.next_snapshot()]
        while time.monotonic() < until:
            found.append(self.next_snapshot())
        return found

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | CPUCLOCK_SCHED)

    def _last_words(self) -> str:
        code = self._child.poll()
        return "it still runs" if code is None else f"it ended with code {code}"


@contextmanager
def running_collector(record: Recorder) -> Iterator[Collector]:
    """`gpu-monitor collector` on loopback, which has sent its first snapshot."""
    record.begin("starting the collector")
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
            config = Path(folder, "config.yml")
            config.write_text(f"name: first-contact\nrpc_port: {port}\ncommands: off\n")
            command = [sys.executable, "-m", "gpu_monitor", "collector", "--config", str(config)]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                collector = Collector(socket, child)
                collector.next_snapshot(FIRST_SECONDS)
                record.begin("beside the collector")
                yield collector
            finally:
                child.kill()
                child.wait()


def gpu_row(snapshot: dict[str, Any], gpu: int) -> dict[str, Any]:
    """A physical GPU's columns by its NVML index; Unchecked if the snapshot lacks it."""
    table = snapshot["gpus"]
    for row, index in enumerate(table.get("index", [])):
        parents = table.get("parent")
        if index == gpu and (parents is None or parents[row] is None):
            return {name: column[row] for name, column in table.items()} | {"row": row}
    found = "; ".join(snapshot["findings"]["words"]) or "without any finding"
    raise Unchecked(f"the collector's snapshot has no GPU {gpu}: {found}")


def process_rows(snapshot: dict[str, Any], row: int) -> dict[int, dict[str, Any]]:
    """The processes on a row of the GPUs, by pid."""
    table = snapshot["processes"]
    return {
        pid: {name: column[at] for name, column in table.items()}
        for at, pid in enumerate(table.get("pid", []))
        if table["gpu"][at] == row
    }
