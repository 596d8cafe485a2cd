"""Broker and web server as processes, and a collector's socket behind a line that queues."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.collector.pusher import Pusher
from gpu_monitor.wire.clock import boottime
from gpu_monitor.wire.codec import pack
from tests.support.house import PATIENCE_SECONDS, House
from tests.support.queue_line import QueueLine, queue_line
from tests.support.snapshots import make_processes, make_snapshot

RPC_TIMEOUT = 2.0
INTERVAL = 0.25
POLL_SECONDS = 0.03
COMMAND_CHARACTERS = 3000
NEEDED_RATE = 4 * 4500.0
"""About how many bytes of snapshots are sent in a second."""
OLDEST_SECONDS = RPC_TIMEOUT + 1.0
PER_SECOND = 1000
"""The host memory in a snapshot tells when it was sampled, in these parts of a second."""


class Watch:
    """Pushes a snapshot every INTERVAL, and records what the API shows meanwhile."""

    def __init__(self, house: House, pusher: Pusher) -> None:
        self._house = house
        self._pusher = pusher
        self._begun = boottime()
        self._sequence = 0
        self._due = 0.0
        self.ages: list[float] = []
        """Of what was shown as live, in seconds."""
        self.state = ""
        self.words: list[str] = []
        """Of the findings `link_late`."""

    def watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._turn()

    def until(self, state: str, patience: float = PATIENCE_SECONDS) -> float:
        """Watches until the host is in `state`; how many seconds that took."""
        begun = time.monotonic()
        while self.state != state or (state == "stale" and not self.words):
            assert time.monotonic() < begun + patience, (self.state, self.words, self.ages[-5:])
            self._turn()
        return time.monotonic() - begun

    def _turn(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL
            self._push()
        time.sleep(POLL_SECONDS)
        asked = boottime()
        host: dict[str, Any] = self._house.get("api/v1/hosts/node1") or {}
        self.state = host.get("state", "")
        table = host.get("findings", {"kind": []})
        rows = range(len(table["kind"]))
        self.words = [table["words"][row] for row in rows if table["kind"][row] == "link_late"]
        if self.state == "live":
            sampled = self._begun + host["system"]["memory_used_mib"] / PER_SECOND
            self.ages.append(asked - sampled)

    def _push(self) -> None:
        self._sequence += 1
        now = boottime()
        used = round((now - self._begun) * PER_SECOND)
        system = {"hostname": "node1", "memory_total_mib": 10**6, "memory_used_mib": used}
        clocks = {"sampled_boottime": now, "sampled_at": time.time()}
        processes = make_processes(command=["x" * COMMAND_CHARACTERS])
        members = {"system": system, "processes": processes, **clocks}
        self._pusher.push(pack(make_snapshot("node1", self._sequence, **members)))


@contextmanager
def watched(folder: Path) -> Iterator[tuple[QueueLine, Watch]]:
    house = House(folder)
    keys: dict[str, Any] = {"rpc_timeout": RPC_TIMEOUT, "interval": INTERVAL, "tick": 0.1}
    with queue_line(house.rpc_port) as (line, port):
        for command in ("broker", "web"):
            house.start(command, **keys)
        pusher = Pusher(f"tcp://127.0.0.1:{port}")
        try:
            yield line, Watch(house, pusher)
        finally:
            pusher.close()
            house.close()


@pytest.mark.processes
def test_nothing_old_is_live_behind_any_queue_and_the_host_says_why(tmp_path: Path) -> None:
    with watched(tmp_path) as (line, watch):
        watch.until("live")
        watch.watch(2.0)

        line.growth = 0.5
        watch.until("stale")
        line.growth, line.delay = 0.0, 0.0
        assert watch.until("live") <= 3.0

        line.rate = 0.4 * NEEDED_RATE
        watch.until("stale")
        watch.watch(3.0)
        line.rate = float("inf")
        assert watch.until("live") <= 3.0

        line.delay = 5.0
        watch.until("stale")
        assert watch.words == ["its messages arrive 5 s late, or its clocks were set back"]
        watch.watch(3.0)
        assert watch.state == "stale"
        line.delay = 0.0
        assert watch.until("live") <= 3.0

        line.is_stuck = True
        watch.watch(3.0)
        line.is_stuck, line.rate = False, 1.2 * NEEDED_RATE
        watch.until("live")
        watch.watch(2.0)
    assert len(watch.ages) > 100
    assert max(watch.ages) <= OLDEST_SECONDS
