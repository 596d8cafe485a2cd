"""Whether a GPU answers a new NVML session, found out in a process of its own.

NVML sees a GPU that was reset only once it is opened again, and it closes all GPUs at once. So a
child opens it first, while this process goes on reading the others.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence

from gpu_monitor.collector.gpu import probe_program
from gpu_monitor.collector.gpu.nvml import library_paths

PROBE_LIMIT_SECONDS = 30
"""A GPU whose system processor is dead holds each call for 6 s, and its opening for up to 20 s."""
PROBE_GRACE_SECONDS = 5.0
"""The child ends itself at the limit; it is killed when it is still there so much later."""


class GpuProbe:
    """Runs one probe at a time; its methods return at once.

    A thread starts the child and waits for it, for as long as the kernel keeps it: a process in
    uninterruptible sleep does not even end when it is killed. Nobody waits for that thread, and
    there is no second one before it is done. The child has none of our open files, and ends when
    that thread ends.

    `problem` says why the child cannot run, None if it can.
    """

    def __init__(
        self,
        python: str = sys.executable,
        limit_seconds: int = PROBE_LIMIT_SECONDS,
        libraries: Sequence[str] = tuple(library_paths()),
    ) -> None:
        self.problem: str | None = None
        self._python = python
        self._limit_seconds = limit_seconds
        self._libraries = libraries
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._code: int | None = None
        self._kill_at = 0.0
        self._is_closed = False

    def launch(self, target: str, taken: Iterable[str], now: float) -> None:
        """Begin to probe the GPU at a bus id, or at an index of NVML that may be another GPU's.

        Only while none runs. `taken` are the bus ids of other GPUs, `now` is monotonic.
        """
        arguments = [str(self._limit_seconds), target, ",".join(taken), *self._libraries]
        self._kill_at = now + self._limit_seconds + PROBE_GRACE_SECONDS
        self._code = None
        self._thread = threading.Thread(
            target=self._run, args=(arguments,), name="gpu probe", daemon=True
        )
        self._thread.start()

    def is_running(self) -> bool:
        """Whether there is a child, or a thread that waits for one."""
        return self._thread is not None and self._thread.is_alive()

    def result(self) -> bool | None:
        """Whether the GPU answered; None while the probe runs and where there was none."""
        return None if self.is_running() or self._code is None else self._code == 0

    def end_overdue(self, now: float) -> None:
        """Kill a child that its own limit has not ended."""
        if self.is_running() and now >= self._kill_at:
            self._kill()

    def close(self) -> None:
        """End the child, and start none any more."""
        self._is_closed = True
        self._kill()

    def _run(self, arguments: list[str]) -> None:
        if self._is_closed:
            return
        try:
            child = self._child = subprocess.Popen(
                [self._python, "-I", "-S", probe_program.__file__, str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=True,
            )
        except OSError as error:
            self._report(f"no process can be started ({error.strerror})")
            return
        if self._is_closed:  # while the child was being started
            child.kill()
        self._code = child.wait()
        is_broken = self._code == probe_program.NO_LIBRARY
        self._report("it does not find libnvidia-ml.so.1" if is_broken else None)

    def _kill(self) -> None:
        child = self._child
        if child is not None:
            child.kill()

    def _report(self, problem: str | None) -> None:
        self.problem = problem and f"GPUs that do not answer cannot be probed: {problem}"
