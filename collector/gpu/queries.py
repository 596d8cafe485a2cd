"""The questions one device is asked again and again; what it cannot answer is not asked twice."""

from collections.abc import Callable
from typing import Any

from gpu_monitor.collector.gpu.nvml import Handle
from gpu_monitor.collector.gpu.nvml_errors import FATAL, UNSUPPORTED, NvmlError


class Trace:
    """The NVML function that was called last, for whoever wonders what hangs."""

    def __init__(self) -> None:
        self.calling = "nothing yet"


class Questions:
    """Asks one device; None for whatever could not be answered.

    Only an answer about the whole device (lost, driver gone) is raised, as NvmlError.
    `failures` holds the error of each question that got no answer the last time.
    """

    def __init__(self, handle: Handle, trace: Trace) -> None:
        self.handle = handle
        self.failures: dict[str, NvmlError] = {}
        self._trace = trace
        self._numbers: dict[str, tuple[str, Callable[[], Any]]] = {}

    def number(self, key: str) -> Any:
        """One of gpu_monitor.collector.gpu.numbers.NUMBERS."""
        bound = self._numbers.get(key)
        if bound is None:
            bound = self.ask(key, f"the function for {key}", self.handle.number, key)
            if bound is None:
                return None
            self._numbers[key] = bound
        function, call = bound
        return self.ask(key, function, call)

    def ask(self, key: str, function: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of `call`, which is NVML's `function`; `key` names the question."""
        if self.failures and self._is_unsupported(key):
            return None
        self._trace.calling = function
        try:
            return call(*arguments)
        except NvmlError as error:
            if error.code in FATAL:
                raise
            self.failures[key] = error.with_traceback(None)  # which would keep what was read, too
            return None

    def _is_unsupported(self, key: str) -> bool:
        failure = self.failures.get(key)
        if failure is None:
            return False
        if failure.code not in UNSUPPORTED:
            del self.failures[key]  # it may answer this time
        return failure.code in UNSUPPORTED
