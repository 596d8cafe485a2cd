"""Whether the three services grow while hosts, GPUs and viewers keep changing.

    python -m bench.soak [--minutes 60] [--hosts 20] [--viewers 20] [--csv FILE]

Collector, broker and web server run as separate processes with keys, over TCP on loopback, at the
shortest interval and tick that config.yml allows. The collector reads the fake NVML, whose scenario
changes every few seconds: processes and GPUs come and go, the driver is updated, GPUs are divided
into slices, calls fail and hang. Two more processes (bench/soak/load.py) act as the other hosts and
as the viewers. Every 10 s each service's memory (proportional share, Pss), open files, threads and
CPU are read. Prints the values halfway and at the end, and the slope in between; asserts nothing.
Short runs are inconclusive: caches, such as idle times of 5 minutes, need time to fill.
"""

import argparse
import csv
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.fake_nvml import (  # noqa: E402 - not installed
    Call,
    Driver,
    Gpu,
    Mig,
    Process,
    Scenario,
    library_folder,
    variables,
    wave,
)
from tests.support.house import House  # noqa: E402 - not installed
from tests.support.key_folders import KeyFolders  # noqa: E402 - not installed

SERVICES = ("collector", "broker", "web")
READ_SECONDS = 10.0
CHANGE_SECONDS = 2.0
PROCESSES = 8
QUICK: dict[str, Any] = {"interval": 0.1, "tick": 0.02, "commands": "full"}
HANGING = ("nvmlDeviceGetTemperature", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetName")
INIT_ERRORS = ("LIB_RM_VERSION_MISMATCH", "DRIVER_NOT_LOADED")


class Reading(NamedTuple):
    """One service at one moment; `at` and `cpu_seconds` count from its start."""

    service: str
    at: float
    memory_kib: int
    threads: int
    files: int
    cpu_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--csv", type=Path, help="file to write all readings to")
    options = parser.parse_args()
    with ExitStack() as stack:
        readings = soak(options, stack)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            csv.writer(file).writerows([Reading._fields, *readings])
    report(readings)


def soak(options: argparse.Namespace, stack: ExitStack) -> list[Reading]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    scenario, machine = folder / "scenario", Machine(stack)
    machine.change().write(scenario)
    folders = KeyFolders(folder / "keys")
    house = House(folder, variables(library_folder(), scenario))
    stack.callback(house.close)
    house.start("broker", keys=folders.broker, **QUICK)
    house.start("web", keys=folders.web("page"), **QUICK)
    house.start("collector", keys=folders.host("real"), name="real", **QUICK)
    for number in range(options.hosts):
        folders.host(f"soak{number}")
    house.host("real")
    load(stack, "push", f"tcp://127.0.0.1:{house.rpc_port}", folders.place, options.hosts)
    load(stack, "view", house.url, options.viewers)
    services = {name: psutil.Process(house.running[name].pid) for name in SERVICES}
    readings: list[Reading] = []
    began = time.monotonic()
    for at in every(CHANGE_SECONDS, began, 60 * options.minutes):
        machine.change().write(scenario)
        if at >= len(readings) // len(services) * READ_SECONDS:
            readings += [read(name, at, process) for name, process in services.items()]
    return readings


def load(stack: ExitStack, part: str, *arguments: object) -> None:
    command = [sys.executable, "-m", "bench.soak.load", part, *map(str, arguments)]
    child = stack.enter_context(subprocess.Popen(command, cwd=ROOT))
    stack.callback(child.kill)


def every(seconds: float, began: float, end: float) -> Iterator[float]:
    """Yield the elapsed seconds again and again, at least once."""
    turn = 0
    while (at := time.monotonic() - began) < end or not turn:
        yield at
        turn += 1
        time.sleep(max(0.0, began + turn * seconds - time.monotonic()))


def read(name: str, at: float, process: psutil.Process) -> Reading:
    memory = process.memory_full_info().pss // 1024
    cpu = process.cpu_times()
    spent = cpu.user + cpu.system
    return Reading(name, at, memory, process.num_threads(), process.num_fds(), spent)


class Machine:
    """A GPU host that changes again and again; its processes are real ones."""

    def __init__(self, stack: ExitStack) -> None:
        self._random = random.Random(7)
        self._generation = 1
        self._processes: list[subprocess.Popen[bytes]] = []
        stack.callback(self._end_all)

    def change(self) -> Scenario:
        chance = self._random.random
        if len(self._processes) == PROCESSES:
            self._end()
        while len(self._processes) < PROCESSES:
            self._begin()
        self._generation += chance() < 0.05
        driver = Driver(
            version=f"550.{self._generation}",
            generation=self._generation,
            init_error=self._random.choice(INIT_ERRORS) if chance() < 0.05 else None,
        )
        calls = []
        if chance() < 0.1:
            name, gpu = self._random.choice(HANGING), self._random.randrange(4)
            calls.append(Call(name, hang=True, gpu=gpu))
        if chance() < 0.2:
            calls.append(Call("nvmlDeviceGetClockInfo", error="UNKNOWN"))
        gpus = {number: self._gpu(number) for number in range(8) if chance() < 0.95}
        return Scenario(gpus, driver, calls)

    def _gpu(self, number: int) -> Gpu:
        chance = self._random.random
        pids = [each.pid for each in self._processes if chance() < 0.4]
        processes = [Process(pid, 512, sm_utilization_percent=wave(0, 100, 7)) for pid in pids]
        if number == 1 and chance() < 0.5:
            slices = [Mig("1g.10gb", processes=[each]) for each in processes]
            return Gpu(mig_mode=1, migs=slices)
        return Gpu(
            lost=chance() < 0.03,
            utilization_percent=wave(0, 100, 5),
            power_watts=wave(70, 700, 5),
            processes=processes,
        )

    def _begin(self) -> None:
        name = f"--name={self._random.getrandbits(64):x}"
        sleeper = "import time; time.sleep(600)"
        command = (sys.executable, "-S", "-c", sleeper, name)
        self._processes.append(subprocess.Popen(command))

    def _end_all(self) -> None:
        while self._processes:
            self._end()

    def _end(self) -> None:
        process = self._processes.pop(self._random.randrange(len(self._processes)))
        process.kill()
        process.wait()


def report(readings: list[Reading]) -> None:
    """Print each service halfway and at the end, as means of a few readings, and its growth."""
    names = ("memory MiB", "MiB/h", "threads", "/h", "files", "/h", "CPU %")
    print(f"{'second half':>12}" + "".join(f"{name:>16}" for name in names))
    values: tuple[Callable[[Reading], float], ...] = (
        lambda each: each.memory_kib / 1024,
        lambda each: each.threads,
        lambda each: each.files,
    )
    for service in SERVICES:
        own = [each for each in readings if each.service == service]
        half = own[len(own) // 2 :]
        few = max(1, len(half) // 10)
        columns: list[str] = []
        for value in values:
            column = [value(each) for each in half]
            first, last = statistics.fmean(column[:few]), statistics.fmean(column[-few:])
            columns += [f"{first:.1f} -> {last:.1f}", f"{slope(half, column):+.2f}"]
        took = half[-1].at - half[0].at
        cpu = 100 * (half[-1].cpu_seconds - half[0].cpu_seconds) / took if took else 0.0
        columns.append(f"{cpu:.1f}")
        print(f"{service:>12}" + "".join(f"{column:>16}" for column in columns))


def slope(readings: list[Reading], column: list[float]) -> float:
    """Growth per hour by least squares; 0 with fewer than two values."""
    if len(column) < 2:
        return 0.0
    hours: Any = [each.at / 3600 for each in readings]
    return statistics.linear_regression(hours, column).slope


if __name__ == "__main__":
    main()
