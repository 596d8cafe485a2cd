"""NVML functions that fill an array: called with room to spare, again with more when it lacks."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from gpu_monitor.collector.gpu.nvml_errors import INSUFFICIENT_SIZE, NvmlError

FIRST_ROWS = 64
"""Room for this many is offered first, so that most lists take one call."""
_ATTEMPTS = 3
"""A list may grow between two calls; one that grows faster than this is given up."""


class Rows:
    """Calls `ask` with a ctypes array of the struct `row` and a counter, as NVML has them.

    `take` makes what is wanted of a row from the tuple of its fields: they are taken apart in one
    go, that costs a tenth of reading them one by one through ctypes.
    """

    def __init__(
        self,
        name: str,
        row: Any,
        ask: Callable[..., int],
        take: Callable[[tuple[Any, ...]], tuple[Any, ...]],
    ) -> None:
        self._name = name
        self._row = row
        self._ask = ask
        self._take = take
        self._array = (row * FIRST_ROWS)()
        self._count = ctypes.c_uint()
        self._layout = struct.Struct("@" + "".join(kind._type_ for _, kind in row._fields_) + "0Q")
        self._bytes = b""
        self._rows: list[Any] = []

    def read(self, *arguments: Any) -> list[Any]:
        """All rows; NvmlError when the function fails.

        The very same list as before when nothing changed, so that the next one can tell.
        """
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
        answer = ctypes.string_at(self._array, rows * self._layout.size)
        if answer != self._bytes:
            self._bytes = answer
            self._rows = list(map(self._take, self._layout.iter_unpack(answer)))
        return self._rows
