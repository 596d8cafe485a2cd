"""A fake CUDA driver library and a GPU that reacts to what is run on it."""

import shlex
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.fake_nvml import Driver, Gpu, Process, Scenario

SOURCE = Path(__file__).parent / "cuda.c"
FLAGS = "-std=gnu11 -O1 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror"
CONTEXT_MIB = 500
STEP_SECONDS = 0.01


def build(folder: Path) -> None:
    """Compile libcuda.so.1 into a folder for LD_LIBRARY_PATH."""
    command = ["cc", *shlex.split(FLAGS), "-o", str(folder / "libcuda.so.1"), str(SOURCE)]
    subprocess.run(command, check=True)


class Effect(NamedTuple):
    """What a kind of load does to a GPU."""

    utilization: int
    sm_percent: int
    memory_percent: int
    watts: int
    xid: int | None = None


EFFECTS = {
    "matmul": Effect(99, 70, 40, 520),
    "heavy": Effect(99, 90, 30, 480),
    "part": Effect(30, 25, 5, 150),
    "idle": Effect(0, 0, 0, 75),
    "spin": Effect(100, 2, 0, 120),
    "wild": Effect(0, 0, 0, 75, xid=31),
    "misaligned": Effect(0, 0, 0, 75, xid=13),
}
IDLE_WATTS = 70


class ReactingGpu:
    """One GPU whose scenario follows the loads that run on the fake CUDA library.

    `folder` is FAKE_CUDA_FOLDER. While entered, a thread rewrites the scenario all the time.
    """

    def __init__(self, folder: Path, scenario: Path) -> None:
        self._folder = folder
        self._scenario = scenario
        self._joules = 1000.0
        self._at = time.monotonic()
        self._xids: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> "ReactingGpu":
        self._advance()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(STEP_SECONDS):
            self._advance()

    def _advance(self) -> None:
        loads = self._loads()
        effects = [EFFECTS[kind] for kind, _, _ in loads]
        watts = max((effect.watts for effect in effects), default=IDLE_WATTS)
        now = time.monotonic()
        self._joules += watts * (now - self._at)
        self._at = now
        gpu = Gpu(
            power_watts=watts,
            energy_joules=round(self._joules, 3),
            utilization_percent=max((effect.utilization for effect in effects), default=0),
            memory_controller_utilization_percent=max(
                (effect.memory_percent for effect in effects), default=0
            ),
            processes=[
                Process(pid, memory_mib=mib, sm_utilization_percent=EFFECTS[kind].sm_percent)
                for kind, pid, mib in loads
            ],
            xids=list(self._xids.values()),
        )
        self._write(Scenario([gpu], driver=Driver(version="550.54.15", cuda_version="12.4")))

    def _write(self, scenario: Scenario) -> None:
        """In one step, readable for processes without privileges."""
        new = self._scenario.with_suffix(".new")
        new.write_text(scenario.text())
        new.chmod(0o644)
        new.replace(self._scenario)

    def _loads(self) -> list[tuple[str, int, int]]:
        """(kind, pid, MiB) of the loads that run; a kernel that fails leaves its Xid."""
        found = []
        for file in sorted(self._folder.iterdir()):
            try:
                words = Path(f"/proc/{file.name}/cmdline").read_bytes().split(b"\0")
                mib = int(file.read_text() or 0)
            except (OSError, ValueError):
                continue
            if len(words) > 4:  # a zombie has no command line
                kind = words[-3].decode()
                found.append((kind, int(file.name), mib + CONTEXT_MIB))
                if (xid := EFFECTS[kind].xid) is not None:
                    self._xids[kind] = xid
        return found
