"""Notifications to systemd, received by a socket in its place."""

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
from gpu_monitor.run.systemd import ServiceManager
from tests.support.house import PATIENCE_SECONDS, House, eventually, free_ports

WATCHDOG = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}


class Manager:
    """systemd's end of the socket; it reads all the time, as the socket buffers few messages."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.environment = {"NOTIFY_SOCKET": address}
        self._received: SimpleQueue[str] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def receive(self) -> str:
        return self._received.get(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)
        self.socket.close()

    def _listen(self) -> None:
        while message := self.socket.recv(4096):
            self._received.put(message.decode())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@{uuid.uuid4()}"
    manager = Manager(address)
    yield manager
    manager.close()


def test_the_first_round_reports_ready_and_each_further_one_alive(manager: Manager) -> None:
    service_manager = ServiceManager(manager.environment | WATCHDOG)
    for _ in range(3):
        service_manager.report_alive()
    service_manager.report_stopping()
    assert [manager.receive() for _ in range(4)] == [
        "READY=1",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_loop_slower_than_the_watchdog_extends_its_timeout(manager: Manager) -> None:
    ServiceManager(manager.environment | WATCHDOG, pause_seconds=600).report_alive()
    assert manager.receive() == "READY=1\nWATCHDOG_USEC=1800000000"


@pytest.mark.parametrize("watched", [{}, WATCHDOG | {"WATCHDOG_PID": "1"}])
def test_without_a_watchdog_only_ready_is_reported(
    manager: Manager, watched: dict[str, str]
) -> None:
    service_manager = ServiceManager(manager.environment | watched)
    for _ in range(3):
        service_manager.report_alive()
    service_manager.report_stopping()
    assert [manager.receive() for _ in range(2)] == ["READY=1", "STOPPING=1"]
    assert service_manager.heartbeat_seconds is None


def test_three_heartbeats_fit_into_the_timeout(manager: Manager) -> None:
    assert ServiceManager(manager.environment | WATCHDOG).heartbeat_seconds == 10


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    service_manager = ServiceManager(environment | WATCHDOG)
    service_manager.report_alive()
    service_manager.report_stopping()


def test_the_collector_is_alive_once_per_round() -> None:
    stop = threading.Event()
    rounds: list[None] = []

    def alive() -> None:
        rounds.append(None)
        if len(rounds) == 3:
            stop.set()

    no_broker = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    run(CollectorSettings("node1", no_broker, interval=0.01), stop, alive=alive)
    assert len(rounds) == 3


@pytest.fixture
def silent_house(tmp_path: Path, processes: None) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.mark.parametrize("command", ["collector", "broker", "web"])
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_each_service_reports_that_it_is_up_alive_and_stopping(
    silent_house: House, manager: Manager, command: str
) -> None:
    watched = {"WATCHDOG_USEC": "300000"}  # no WATCHDOG_PID: it is not known yet
    silent_house.environment |= manager.environment | watched
    silent_house.start(command, interval=0.1, rpc_timeout=1.5)
    assert manager.receive().startswith("READY=1")
    assert [manager.receive(), manager.receive()] == ["WATCHDOG=1"] * 2
    silent_house.running[command].send_signal(signal.SIGTERM)
    eventually(
        lambda: manager.receive() == "STOPPING=1" or None, "a report that the service is stopping"
    )
    assert silent_house.running.pop(command).wait(PATIENCE_SECONDS) == 0
