"""The collector's loop, as a thread and as a process of its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.host.processes import sees_host_pids
from gpu_monitor.collector.main import next_on_grid, run
from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.wire.document import Snapshot
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Driver, Gpu, Process, Scenario
from tests.support.finding_lines import snapshot_lines
from tests.support.house import running as process
from tests.support.snapshots import read_snapshot

ROOT = Path(__file__).parent.parent.parent
WAIT_MS = 30_000
SETTINGS = CollectorSettings(name="node1", interval=0.1, rpc_timeout=0.5)


class Running:
    """A collector in a thread, and the socket it pushes to."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        port = self._pull.bind_to_random_port("tcp://127.0.0.1")
        self._stop = threading.Event()
        settings = settings._replace(endpoint=f"tcp://127.0.0.1:{port}")
        self._thread = threading.Thread(target=run, args=(settings, self._stop))
        self._thread.start()

    def next(self, fulfilled: Callable[[Snapshot], bool] = lambda _: True) -> Snapshot:
        """The next snapshot that satisfies `fulfilled`; a newer one may have replaced some."""
        give_up_at = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < give_up_at and self._pull.poll(WAIT_MS):
            snapshot = read_snapshot(self._pull.recv())
            if fulfilled(snapshot):
                return snapshot
        raise AssertionError("no such snapshot came")

    def stop(self) -> bool:
        """Whether the collector has ended."""
        self._stop.set()
        self._thread.join(WAIT_MS / 1000)
        self._context.destroy(linger=0)
        return not self._thread.is_alive()


@pytest.fixture
def start(fake_nvml: FakeNvml) -> Iterator[Callable[..., Running]]:
    """Starts collectors on a machine with one GPU, and stops them at the end."""
    fake_nvml.write(Scenario([Gpu(uuid="GPU-1", utilization_percent=0)]))
    started: list[Running] = []

    def start(settings: CollectorSettings = SETTINGS) -> Running:
        started.append(Running(settings))
        return started[-1]

    yield start
    fake_nvml.close()  # lets hung calls return
    for running in started:
        running.stop()


Start = Callable[..., Running]


def has_gpus(snapshot: Snapshot) -> bool:
    """The first snapshot may arrive before the driver has answered."""
    return snapshot["gpus"]["state"] == ["ok"]


def test_snapshots_arrive_in_sequence_and_pass_the_brokers_check(start: Start) -> None:
    running = start()

    snapshots = [running.next(has_gpus) for _ in range(3)]

    sequences = [snapshot["sequence"] for snapshot in snapshots]
    assert sequences == sorted(set(sequences)) and sequences[0] >= 1
    assert snapshots[0]["gpus"]["uuid"] == ["GPU-1"]
    assert snapshots[0]["name"] == "node1"
    assert snapshots[2]["collector"]["cpu_percent"] >= 0


def test_host_readings_continue_while_the_driver_hangs(fake_nvml: FakeNvml, start: Start) -> None:
    running = start()
    running.next(has_gpus)
    fake_nvml.write(Scenario([Gpu(uuid="GPU-1")], calls=[Call("nvmlDevice*", hang=True)]))

    hung = running.next(lambda snapshot: bool(snapshot_lines(snapshot)))
    later = running.next()

    assert "NVML stuck in nvmlDeviceGet" in snapshot_lines(hung)[0]
    assert hung["gpus"]["state"] == ["error"]
    assert hung["gpus"]["utilization_percent"] == [None]
    assert "cpu_percent" in later["system"] and later["sequence"] > hung["sequence"]


def test_a_missing_driver_is_reported_until_it_returns(
    fake_nvml: FakeNvml, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake_nvml.write(Scenario([Gpu()], Driver(init_error="DRIVER_NOT_LOADED")))
    running = start()
    absent = running.next(lambda snapshot: bool(snapshot_lines(snapshot)))
    fake_nvml.write(Scenario([Gpu()]))

    back = running.next(has_gpus)
    running.next()  # a change is logged after its snapshot is pushed

    assert not snapshot_lines(back)
    (line,) = snapshot_lines(absent)
    assert [text for text in caplog.messages if line in text] == [
        line,
        f"resolved: {line}",
    ]


def test_stopping_is_quick_while_the_driver_hangs_without_a_broker(
    fake_nvml: FakeNvml, start: Start
) -> None:
    running = start()
    running.next(has_gpus)
    fake_nvml.write(Scenario([Gpu()], calls=[Call("nvmlDevice*", hang=True)]))
    running.next(lambda snapshot: bool(snapshot_lines(snapshot)))

    assert running.stop()


def test_an_idle_time_survives_a_restart(start: Start, tmp_path: Path) -> None:
    settings = SETTINGS._replace(state_folder=str(tmp_path))
    running = start(settings)
    first = running.next(has_gpus)
    running.stop()
    kept = json.loads((tmp_path / "idle.json").read_text())
    kept["idle"]["GPU-1"][0] -= 100
    (tmp_path / "idle.json").write_text(json.dumps(kept))

    second = start(settings).next(has_gpus)

    assert first["gpus"]["idle_since"][0] is not None
    earlier = first["gpus"]["idle_since"][0] - second["gpus"]["idle_since"][0]
    assert 99 <= earlier <= 101  # each start reads the clocks and rounds to whole seconds


@pytest.mark.skipif(not sees_host_pids(), reason="in a pid namespace no owner is known")
def test_a_process_has_its_user_and_start_time(fake_nvml: FakeNvml, start: Start) -> None:
    fake_nvml.write(Scenario([Gpu(processes=[Process("self", memory_mib=100)])]))
    me = psutil.Process()

    snapshot = start().next(lambda snapshot: snapshot["processes"]["user"] == [me.username()])

    processes = snapshot["processes"]
    assert processes["pid"] == [me.pid]
    assert abs(processes["started_at"][0] - me.create_time()) < 2


LOADED = {
    "pusher": "gpu_monitor.collector.main, gpu_monitor.collector.pusher",
    "main": "gpu_monitor.collector.main, gpu_monitor.__main__",
}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("pusher", {"asyncio", "aiohttp", "gpu_monitor.broker", "gpu_monitor.web", "yaml"}),
        ("main", {"asyncio", "aiohttp", "gpu_monitor.broker", "gpu_monitor.web"}),
        ("main", {"dataclasses"}),  # saves 1.2 MB
        # Only the broker checks messages; this also saves 1.2 MB.
        ("main", {"gpu_monitor.wire.schema", "gpu_monitor.wire.changes", "msgspec"}),
    ],
)
def test_a_collector_on_its_own_imports_only_what_it_uses(
    imported: str, unwanted: set[str]
) -> None:
    code = f"import sys, {LOADED[imported]}; print(sorted({unwanted} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.processes
def test_a_collector_listens_on_no_port(fake_nvml: FakeNvml) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        code = (
            "import threading\n"
            "from gpu_monitor.collector import main, settings\n"
            f"own = settings.CollectorSettings('node1', 'tcp://127.0.0.1:{port}', interval=0.1)\n"
            "main.run(own, threading.Event())"
        )
        with process(sys.executable, "-c", code, env=fake_nvml.environment()) as child:
            arrived = pull.poll(WAIT_MS)
            sockets = psutil.Process(child.pid).net_connections(kind="inet")

    assert arrived
    assert [socket.status for socket in sockets] == [psutil.CONN_ESTABLISHED]


HARDSHIPS = {
    "no pidfd_open": "import os; del os.pidfd_open",
    "128 open files": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))",
    "a broken library": "import psutil; del psutil.disk_usage, psutil.swap_memory",
}


@pytest.fixture
def sleepers(processes: None) -> Iterator[list[int]]:
    """pids of 150 processes that sleep."""
    script = "for i in $(seq 150); do sleep 600 >/dev/null & echo $!; done; echo; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        assert shell.stdout is not None
        yield [int(line) for line in iter(shell.stdout.readline, "\n")]
        os.killpg(shell.pid, signal.SIGKILL)


def received_from(child_code: str, fake: FakeNvml, *prefix: str) -> list[Snapshot]:
    """Five snapshots of a collector in a process of its own."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        code = (
            f"{child_code}\n"
            "import threading\n"
            "from gpu_monitor.collector import main, settings\n"
            f"own = settings.CollectorSettings('node1', 'tcp://127.0.0.1:{port}', interval=0.1)\n"
            "main.run(own, threading.Event())"
        )
        with process(*prefix, sys.executable, "-c", code, env=fake.environment()):
            snapshots: list[Snapshot] = []
            while len(snapshots) < 5 and pull.poll(WAIT_MS):
                snapshots.append(read_snapshot(pull.recv()))
    return snapshots


@pytest.mark.processes
@pytest.mark.parametrize("hardship", HARDSHIPS)
def test_the_loop_goes_on_under_hardship(
    hardship: str, fake_nvml: FakeNvml, sleepers: list[int]
) -> None:
    fake_nvml.write(Scenario([Gpu(processes=[Process(pid) for pid in sleepers])]))

    snapshots = received_from(HARDSHIPS[hardship], fake_nvml)

    assert len(snapshots) == 5
    assert len(snapshots[-1]["processes"]["pid"]) == len(sleepers) == 150
    assert "cpu_percent" in snapshots[-1]["collector"]


@pytest.mark.processes
def test_the_loop_goes_on_where_proc_shows_only_processes(fake_nvml: FakeNvml) -> None:
    script = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
    prefix = (
        "unshare",
        "--map-root-user",
        "--mount",
        "--pid",
        "--kill-child",
        "sh",
        "-c",
        script,
        "sh",
    )
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces may be made here")
    fake_nvml.write(Scenario([Gpu(uuid="GPU-1")]))

    snapshots = received_from("", fake_nvml, *prefix)

    assert snapshots[-1]["gpus"]["uuid"] == ["GPU-1"]
    assert snapshots[-1]["disks"]["mount"][0] == "/"
    assert "host memory cannot be read" in " ".join(snapshot_lines(snapshots[-1]))


@given(
    st.floats(0, 1e6), st.floats(0, 1e4, allow_subnormal=False), st.sampled_from([0.1, 0.5, 1, 5])
)
def test_the_next_sample_is_on_the_grid_and_in_the_future(
    last: float, late: float, interval: float
) -> None:
    following = next_on_grid(last, last + late, interval)

    steps = (following - last) / interval
    assert abs(steps - round(steps)) < 1e-3 and round(steps) >= 1
    assert -1e-6 < following - (last + late) <= interval + 1e-6
