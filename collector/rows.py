"""NVML functions that fill an array: called with room to spare, again with more when it lacks."""

import ctypes
import struct
from collections.abc import Callable, Iterable
from typing import Any

from collector.failures import INSUFFICIENT_SIZE, NvmlError

FIRST_ROWS = 64
"""Room for this many is offered first, so that most lists take one call."""
_ATTEMPTS = 3
"""A list may grow between two calls; one that grows faster than this is given up."""


class Rows:
    """Calls `ask` with a ctypes array of the struct `row` and a counter, as NVML has them.

    Rows come as tuples of the struct's fields in order: taken apart in one go, that costs a
    tenth of reading them field by field through ctypes.
    """

    def __init__(self, name: str, row: Any, ask: Callable[..., int]) -> None:
        self._name = name
        self._row = row
        self._ask = ask
        self._array = (row * FIRST_ROWS)()
        self._count = ctypes.c_uint()
        self._layout = struct.Struct("@" + "".join(kind._type_ for _, kind in row._fields_) + "0Q")

    def read(self, *arguments: Any) -> Iterable[tuple[Any, ...]]:
        """All rows; NvmlError when the function fails."""
        code = INSUFFICIENT_SIZE
        for _ in range(_ATTEMPTS):
            self._count.value = len(self._array)
            code = self._ask(self._array, ctypes.byref(self._count), *arguments)
            if code != INSUFFICIENT_SIZE:
                break
            self._array = (self._row * (2 * max(self._count.value, len(self._array))))()
        if code:
            raise NvmlError(code, self._name)
        rows = min(self._count.value, len(self._array))
        return self._layout.iter_unpack(ctypes.string_at(self._array, rows * self._layout.size))
