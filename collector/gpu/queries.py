"""NVML calls: each is named while it runs, and what a GPU cannot answer is not asked again."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import (
    FATAL,
    UNKNOWN,
    UNSUPPORTED,
    InternalError,
    NvmlError,
)

Answer = TypeVar("Answer")


class Trace:
    """Calls functions of nvidia-ml-py, in one thread at a time.

    `function` is the C name of the latest one, empty while its caller waits for other threads, and
    `subject` what it is about, where the caller says so: a call that hangs can be reported by name
    from another thread.
    """

    def __init__(self) -> None:
        self.function = "nothing yet"
        self.subject = ""

    def call(self, wrapper: Any, *arguments: Any) -> Any:
        """What a function of nvidia-ml-py returns; NvmlError when it fails.

        The NvmlError has no context: storing one must not keep alive all that was being read.
        """
        self.function = wrapper.__name__
        try:
            return wrapper(*arguments)
        except pynvml.NVMLError as error:
            code = int(getattr(error, "value", UNKNOWN))
        except UnicodeDecodeError:  # the package decodes texts, the driver may write any bytes
            code = UNKNOWN
        raise NvmlError(code, wrapper.__name__)

    def __str__(self) -> str:
        return f"{self.function} of {self.subject}" if self.subject else self.function


class Queries:
    """Queries one device again and again; the answer is None where there is none.

    An error about the whole device (lost, driver gone) is raised, as NvmlError. Any other is kept
    in `failures` under the name of the query until it succeeds, an exception of any other class as
    InternalError; a query that the device does not support is not made again.
    """

    def __init__(self) -> None:
        self.failures: dict[str, NvmlError] = {}

    def query(self, call: Callable[..., Answer], *arguments: Any) -> Answer | None:
        """The answer of `call`, whose name is the query's."""
        if self.failures and self._is_unsupported(call.__name__):
            return None
        try:
            return call(*arguments)
        except NvmlError as error:
            if error.code in FATAL:
                raise
            # a traceback would keep alive all that was being read
            self.failures[call.__name__] = error.with_traceback(None)
        except Exception as error:
            self.failures[call.__name__] = InternalError(call.__name__, error)
        return None

    def failure_code(self, name: str) -> int:
        """The error code of a query's last failure; 0 for none."""
        failure = self.failures.get(name)
        return 0 if failure is None else failure.code

    def faults(self) -> list[str]:
        """The queries that failed with an InternalError, in words."""
        found = self.failures.items()
        return [f"{name}: {error}" for name, error in found if isinstance(error, InternalError)]

    def _is_unsupported(self, name: str) -> bool:
        failure = self.failures.get(name)
        if failure is None:
            return False
        if failure.code not in UNSUPPORTED:
            del self.failures[name]  # the device may answer this time
        return failure.code in UNSUPPORTED
