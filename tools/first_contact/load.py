"""Loads as child processes of a stage."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from .nvml import answer, open_gpu, plain
from .options import Options
from .record import Recorder, Unchecked

READY_SECONDS = 20.0
"""Importing torch and making a context take this long on a cold machine."""
COMMAND = (sys.executable, "-m", "tools.first_contact.load_process")


class Load:
    """A running load; `ready` is what it said once its memory was in use."""

    def __init__(self, gpu: int, bus_id: str, kind: str, mib: int) -> None:
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}
        self._child = subprocess.Popen(
            [*COMMAND, bus_id, kind, str(mib)],
            env={**os.environ, **order},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.kind = kind
        self.pid = self._child.pid
        self._buffer = b""
        self.ready: dict[str, Any] = {}

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> "Load":
        """Unchecked where it ends or says nothing in time."""
        deadline = time.monotonic() + seconds
        while not self.ready:
            lines = self._read(deadline - time.monotonic())
            if lines is None:
                raise Unchecked(f"no load on the GPU: {self._last_words()}")
            self.ready = lines[0] if lines else {}
        return self

    def rounds(self) -> list[dict[str, Any]]:
        """The counts since the last call: each `rounds` done at the monotonic time `at`."""
        found = []
        while lines := self._read(0):
            found += lines
        return found

    def wait(self, seconds: float) -> str:
        """Its last words, when it has ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        return self._last_words()

    def kill(self) -> None:
        """End it with SIGKILL, as the kernel does when memory runs out."""
        self._child.kill()
        self._child.wait()

    def _read(self, seconds: float) -> list[dict[str, Any]] | None:
        """Whole lines within this time; None at its end and at the end of the load."""
        stream = self._child.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            if not selector.select(max(0, seconds)):
                return None
        data = stream.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _last_words(self) -> str:
        self.kill()
        stream = self._child.stderr
        words = stream.read().decode(errors="replace").strip() if stream else ""
        return words.splitlines()[-1] if words else f"it ended with code {self._child.returncode}"


def bus_id_of(record: Recorder, options: Options) -> str:
    """Where the GPU is on the PCI bus, as CUDA writes it; Unchecked if it is cut into slices."""
    with open_gpu(record, options.gpu) as handle:
        mode = answer(pynvml.nvmlDeviceGetMigMode, handle)
        if mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
            raise Unchecked(f"GPU {options.gpu} is in MIG mode: choose another one with --gpu")
        return str(plain(pynvml.nvmlDeviceGetPciInfo(handle).busId))[-12:]


@contextmanager
def running_loads(
    record: Recorder, options: Options, kinds: dict[str, int]
) -> Iterator[list[Load]]:
    """A load per kind with so many MiB, ended on leaving; Unchecked where one cannot be started."""
    record.begin(f"starting the load {', '.join(kinds)}")
    bus_id = bus_id_of(record, options)
    loads = [Load(options.gpu, bus_id, kind, mib) for kind, mib in kinds.items()]
    try:
        yield [load.wait_until_ready() for load in loads]
    finally:
        for load in loads:
            load.kill()


@contextmanager
def running_load(record: Recorder, options: Options, kind: str, mib: int) -> Iterator[Load]:
    """One load."""
    with running_loads(record, options, {kind: mib}) as (load,):
        yield load


@contextmanager
def start_load_if_possible(
    record: Recorder, options: Options, kind: str, mib: int
) -> Iterator[Load | None]:
    """One load; where it cannot be started that is recorded, and the stage goes on without."""
    with contextlib.ExitStack() as stack:
        try:
            load = stack.enter_context(running_load(record, options, kind, mib))
        except Unchecked as reason:
            record.unchecked(str(reason))
            yield None
        else:
            yield load
