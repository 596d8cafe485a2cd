"""The whole product for tests: the commands as processes on free loopback ports."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gpu_monitor.collector.host.system import boot_id

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "gpu_monitor")
PATIENT_CHECK = (sys.executable, "-m", "tests.support.patient_check")
PATIENCE_SECONDS = 30.0
PORTS_OF_A_RUN = 200
CLOCK_REALTIME_COARSE = 5  # linux/time.h; Python has no name for it
Found = TypeVar("Found")


def _ports_of_this_run() -> Iterator[int]:
    """An endless cycle of ports that no other run of these tests uses.

    They are below the ephemeral range: a connection could otherwise take a port before its command
    is up or while it is down, or even connect to itself.
    """
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(range_file.read_text().split()[0])
    for first in range(end - PORTS_OF_A_RUN, max(1024, end - 20_000), -PORTS_OF_A_RUN):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f"\0gpu-monitor-tests-{first}")
            except OSError:  # another run has claimed them
                continue
            yield from itertools.cycle(range(first, first + PORTS_OF_A_RUN))
    raise AssertionError(f"no ports below {end} are left for this run")


_ports = _ports_of_this_run()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, and will not be given to another test soon."""
    ports: list[int] = []
    for port in itertools.islice(_ports, PORTS_OF_A_RUN):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError(f"no {count} free ports")


def eventually(
    probe: Callable[[], Found | None], what: str, patience: float = PATIENCE_SECONDS
) -> Found:
    """The result of `probe` once it is neither None nor False; fails after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = probe()
        if found is not None and found is not False:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {patience:.0f} s for {what}")


def let_file_clock_tick() -> None:
    """Wait until changes to a file get a new timestamp.

    Kernels before 6.13, and some file systems, take timestamps from a clock of 1 to 10 ms.
    """
    before = time.clock_gettime(CLOCK_REALTIME_COARSE)
    eventually(lambda: time.clock_gettime(CLOCK_REALTIME_COARSE) > before, "the next tick")


@contextlib.contextmanager
def running(*command: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process started in the project's folder, and always killed at the end of the block.

    Otherwise a failed test would leave it running, or wait for it forever.
    """
    with subprocess.Popen(command, cwd=ROOT, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def unpacked_wheel(to: Path) -> Path:
    """Unpack the release wheel, with the bundled page, into the folder `to`."""
    command = (sys.executable, str(ROOT / "tools" / "wheel.py"))
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    (wheel,) = Path(built).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)
    return to


def rested(folder: Path) -> dict[str, str]:
    """The environment of a collector that knew the fake NVML's GPUs to be idle before it was
    restarted, so that they are free at once and not after half a minute."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    uuids = (f"GPU-fa4e0000-0000-4000-8000-{number:012d}" for number in range(8))
    idle = {uuid: (now - 60, None, now) for uuid in uuids}
    folder.mkdir()
    (folder / "idle.json").write_text(json.dumps({"boot_id": boot_id(), "idle": idle}))
    return {"RUNTIME_DIRECTORY": str(folder)}


class House:
    """Commands that share one config.yml; `close` stops those that still run.

    `environment` is added to theirs, such as the path of the fake NVML. They run the package in
    the folder `code`: this checkout, or an unpacked wheel.
    """

    code = ROOT

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = environment or {}
        self.web_port, self.rpc_port, self.updates_port = free_ports(3)
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.url = f"http://127.0.0.1:{self.web_port}/"

    def config(self, **keys: object) -> Path:
        """Write a config.yml with these ports and `keys`, one file per distinct content."""
        ports = {
            "web_port": self.web_port,
            "rpc_port": self.rpc_port,
            "updates_port": self.updates_port,
        }
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in (ports | keys).items()]
        path = self.folder / f"config-{len(list(self.folder.glob('config-*')))}.yml"
        path.write_text("".join(lines))
        return path

    def start(self, command: str, *arguments: str, title: str = "", **keys: object) -> None:
        """Start `gpu-monitor COMMAND`, with its log in `TITLE.log`."""
        title = title or command
        with (self.folder / f"{title}.log").open("a") as log:
            self.running[title] = subprocess.Popen(
                [*COMMAND, command, *arguments, "--config", str(self.config(**keys))],
                cwd=self.code,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                text=True,
            )

    def stop(self, title: str, by: signal.Signals = signal.SIGTERM) -> int:
        """Signal one process and return its exit code."""
        process = self.running.pop(title)
        process.send_signal(by)
        return process.wait(PATIENCE_SECONDS)

    def log(self, title: str) -> str:
        """What a process has logged so far."""
        return (self.folder / f"{title}.log").read_text()

    def text(self, path: str) -> str | None:
        """The response of the web server, or None unless its status is 200."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE_SECONDS) as answer:
                body: bytes = answer.read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None
        return body.decode()

    def get(self, path: str) -> Any:
        """The same response, parsed as JSON."""
        text = self.text(path)
        return json.loads(text) if text is not None else None

    def host(
        self, name: str, state: str = "live", patience: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The host, once the API shows it in `state`; fails after `patience` seconds."""

        def find() -> dict[str, Any] | None:
            host: dict[str, Any] | None = self.get(f"api/v1/hosts/{name}")
            return host if host is not None and host["state"] == state else None

        try:
            return eventually(find, f"{name} to be {state}", patience)
        except AssertionError as error:
            logs = "\n".join(f"{path.name}:\n{path.read_text()}" for path in self.logs())
            raise AssertionError(
                f"{error}; it is {self.get(f'api/v1/hosts/{name}')}\n{logs}"
            ) from None

    def logs(self) -> list[Path]:
        """All log files."""
        return sorted(self.folder.glob("*.log"))

    def close(self) -> None:
        """Kill what still runs; orderly stops have tests of their own."""
        for process in self.running.values():
            process.kill()
            process.wait(PATIENCE_SECONDS)
        self.running.clear()
