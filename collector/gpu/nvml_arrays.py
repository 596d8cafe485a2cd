"""NVML functions that fill an array of structs, called once with room to spare.

The wrappers of nvidia-ml-py call each of them twice, the first time for the length, and make an
object of every row. Process lists are read every second from every GPU, which is why they are
read here.
"""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import FUNCTION_NOT_FOUND, INSUFFICIENT_SIZE, NvmlError

INITIAL_ROWS = 64
"""Room for this many at first, so that most lists take one call."""
_ATTEMPTS = 3
"""A list may grow between two calls; after this many it is given up."""


def c_function(*names: str) -> Any:
    """The first of these C functions that the library has."""
    for name in names:
        function = getattr(pynvml.nvmlLib, name, None)
        if function is not None:
            return function
    raise NvmlError(FUNCTION_NOT_FOUND, names[0])


class ArrayReader:
    """Reads the rows that `fill(array, count, ...)` writes; it returns NVML's error code.

    `convert` makes a row of the tuple of the struct's fields. They are unpacked all at once, which
    takes a tenth of the time of reading them one by one through ctypes.
    """

    def __init__(
        self,
        name: str,
        row: Any,
        fill: Callable[..., int],
        convert: Callable[[tuple[Any, ...]], tuple[Any, ...]],
    ) -> None:
        self.name = name
        self._row = row
        self._fill = fill
        self._convert = convert
        self._array = (row * INITIAL_ROWS)()
        self._count = ctypes.c_uint()
        self._layout = struct.Struct("@" + "".join(kind._type_ for _, kind in row._fields_) + "0Q")
        self._bytes = b""
        self._rows: list[Any] = []

    def fetch(self, *arguments: Any) -> list[Any]:
        """All rows; NvmlError when the function fails.

        The identical list while the driver writes the same bytes, so that `is` tells a change.
        """
        code = INSUFFICIENT_SIZE
        for _ in range(_ATTEMPTS):
            self._count.value = len(self._array)
            code = self._fill(self._array, ctypes.byref(self._count), *arguments)
            if code != INSUFFICIENT_SIZE:
                break
            self._array = (self._row * (2 * max(self._count.value, len(self._array))))()
        if code:
            raise NvmlError(code, self.name)
        rows = min(self._count.value, len(self._array))
        answer = ctypes.string_at(self._array, rows * self._layout.size)
        if answer != self._bytes:
            self._bytes = answer
            self._rows = list(map(self._convert, self._layout.iter_unpack(answer)))
        return self._rows
