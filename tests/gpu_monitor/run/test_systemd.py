"""What the service manager is told, by a socket in its place."""

import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from gpu_monitor.collector.main import run
from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.run.systemd import Notify
from tests.support.house import PATIENCE_SECONDS, House, eventually, free_ports

PATIENCE = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}


class Manager:
    """systemd's end of the socket, always listening: it holds a few messages only."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address}
        self._told: SimpleQueue[str] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def told(self) -> str:
        return self._told.get(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)
        self.socket.close()

    def _listen(self) -> None:
        while message := self.socket.recv(4096):
            self._told.put(message.decode())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@{uuid.uuid4()}"
    manager = Manager(address)
    yield manager
    manager.close()


def test_the_first_round_says_ready_and_each_further_one_alive(manager: Manager) -> None:
    notify = Notify(manager.environment | PATIENCE)
    for _ in range(3):
        notify.alive()
    notify.stopping()
    assert [manager.told() for _ in range(4)] == [
        "READY=1",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_loop_slower_than_the_watchdog_asks_for_more_patience(manager: Manager) -> None:
    Notify(manager.environment | PATIENCE, pause_seconds=600).alive()
    assert manager.told() == "READY=1\nWATCHDOG_USEC=1800000000"


@pytest.mark.parametrize("watched", [{}, PATIENCE | {"WATCHDOG_PID": "1"}])
def test_where_nobody_watches_only_ready_is_said(manager: Manager, watched: dict[str, str]) -> None:
    notify = Notify(manager.environment | watched)
    for _ in range(3):
        notify.alive()
    notify.stopping()
    assert [manager.told() for _ in range(2)] == ["READY=1", "STOPPING=1"]
    assert notify.beat_seconds is None


def test_three_beats_fit_into_the_patience(manager: Manager) -> None:
    assert Notify(manager.environment | PATIENCE).beat_seconds == 10


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    notify = Notify(environment | PATIENCE)
    notify.alive()
    notify.stopping()


def test_the_collector_is_alive_once_per_round() -> None:
    stop = threading.Event()
    rounds: list[None] = []

    def alive() -> None:
        rounds.append(None)
        if len(rounds) == 3:
            stop.set()

    nobody = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    run(CollectorSettings("node1", nobody, interval=0.01), stop, alive=alive)
    assert len(rounds) == 3


@pytest.fixture
def silent_house(tmp_path: Path, processes: None) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.mark.parametrize("command", ["collector", "broker", "web"])
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_each_service_says_when_it_is_up_alive_and_stopping(
    silent_house: House, manager: Manager, command: str
) -> None:
    watched = {"WATCHDOG_USEC": "300000"}  # without a WATCHDOG_PID: the test cannot know it before
    silent_house.environment |= manager.environment | watched
    silent_house.start(command, interval=0.1, rpc_timeout=1.5)
    assert manager.told().startswith("READY=1")
    assert [manager.told(), manager.told()] == ["WATCHDOG=1"] * 2
    silent_house.running[command].send_signal(signal.SIGTERM)
    eventually(lambda: manager.told() == "STOPPING=1" or None, "the service to say that it stops")
    assert silent_house.running.pop(command).wait(PATIENCE_SECONDS) == 0
