"""NVML functions that fill an array of structs, called once with room to spare.

The wrappers of nvidia-ml-py call each of them twice, the first time for the length, and make an
object of every row. Process lists are read every second from every GPU, which is why they are
read here.
"""

import ctypes
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import (
    FUNCTION_NOT_FOUND,
    INSUFFICIENT_SIZE,
    ImplausibleAnswer,
    NvmlError,
)

INITIAL_ROWS = 64
"""Room for this many at first, so that most lists take one call."""
WIDEST_ROW_BYTES = 32
"""Room for each row: some drivers write wider rows than their header says."""
_ATTEMPTS = 3
"""A list may grow between two calls; after this many it is given up."""
_UNTOUCHED = 0xA5

Row: TypeAlias = tuple[Any, ...]


def c_function(*names: str) -> Any:
    """The first of these C functions that the library has."""
    for name in names:
        function = getattr(pynvml.nvmlLib, name, None)
        if function is not None:
            return function
    raise NvmlError(FUNCTION_NOT_FOUND, names[0])


def layout(struct_type: Any, stride: int = 0) -> struct.Struct:
    """How rows of this ctypes structure follow each other in memory, `stride` bytes apart."""
    fields = "@" + "".join(kind._type_ for _, kind in struct_type._fields_) + "0Q"
    return struct.Struct(fields + "x" * max(0, stride - struct.calcsize(fields)))


class ArrayReader:
    """Reads the rows that `fill(array, count, ...)` writes; it returns NVML's error code.

    `convert` makes a row of the tuple of the struct's fields. They are unpacked all at once, which
    takes a tenth of the time of reading them one by one through ctypes.

    There may be several `layouts`, narrowest first. Which one the driver writes is found out from
    how far it fills the array, and from which one gives rows that are `plausible`; where none does
    the list is unreadable. Once known it is kept.
    """

    def __init__(
        self,
        name: str,
        layouts: tuple[struct.Struct, ...],
        fill: Callable[..., int],
        convert: Callable[[Row], Row],
        plausible: Callable[[Row], bool] = lambda row: True,
    ) -> None:
        self.name = name
        self._layouts = layouts
        self._fill = fill
        self._convert = convert
        self._plausible = plausible
        self._room = INITIAL_ROWS
        self._array = ctypes.create_string_buffer(WIDEST_ROW_BYTES * self._room)
        self._count = ctypes.c_uint()
        self._bytes = b""
        self._rows: list[Any] = []

    def fetch(self, *arguments: Any) -> list[Any]:
        """All rows; NvmlError when the function fails.

        The identical list while the driver writes the same bytes, so that `is` detects a change.
        """
        code = INSUFFICIENT_SIZE
        for _ in range(_ATTEMPTS):
            if len(self._layouts) > 1:
                ctypes.memset(self._array, _UNTOUCHED, len(self._array))
            self._count.value = self._room
            code = self._fill(self._array, ctypes.byref(self._count), *arguments)
            if code != INSUFFICIENT_SIZE:
                break
            self._room = 2 * max(self._count.value, self._room)
            self._array = ctypes.create_string_buffer(WIDEST_ROW_BYTES * self._room)
        if code:
            raise NvmlError(code, self.name)
        rows = min(self._count.value, self._room)
        answer = ctypes.string_at(self._array, rows * self._layouts[-1].size)
        if answer != self._bytes:
            self._rows = list(map(self._convert, self._unpack(answer, rows)))
            self._bytes = answer
        return self._rows

    def _unpack(self, answer: bytes, rows: int) -> list[Row]:
        fitting = [each for each in self._layouts if _reaches(answer, rows, each)]
        for each in reversed(fitting or self._layouts[:1]):
            unpacked = list(each.iter_unpack(answer[: rows * each.size]))
            if all(map(self._plausible, unpacked)):
                if rows > 1 or (rows and each is self._layouts[0]):  # one row fits any layout
                    self._layouts = (each,)
                return unpacked
        raise ImplausibleAnswer(self.name)


def _reaches(answer: bytes, rows: int, layout: struct.Struct) -> bool:
    """Whether the driver has written as far as rows of this layout reach."""
    last = answer[(rows - 1) * layout.size : rows * layout.size] if rows else b""
    return last[-4:] != bytes((_UNTOUCHED,)) * 4
