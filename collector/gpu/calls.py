"""How a function of nvidia-ml-py is called: its errors become an NvmlError."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import UNKNOWN, NvmlError

Result = TypeVar("Result")


def asked(name: str, wrapper: Callable[..., Result], *arguments: Any) -> Result:
    """What a function of the package returns; `name` is NVML's own for it. NvmlError.

    It has no other error for its context: who keeps it would keep all that was being read.
    """
    try:
        return wrapper(*arguments)
    except pynvml.NVMLError as error:
        code = code_of(error)
    except UnicodeDecodeError:  # the package decodes texts, the driver may write anything
        code = UNKNOWN
    raise NvmlError(code, name)


def code_of(error: Exception) -> int:
    """NVML's number of an error of the package."""
    return int(getattr(error, "value", UNKNOWN))
