"""Columns that many hosts have in common, kept once."""

from collections.abc import Callable
from itertools import chain
from sys import getsizeof

from gpu_monitor.wire.document import Column

MAX_SHARED_BYTES = 4 << 20


class SharedColumns:
    """Columns and their texts, each stored once however many hosts have it.

    Forgets all of them when they take more than `max_bytes`; hosts keep those that they have.
    Not sys.intern: some Pythons never let go of those.
    """

    def __init__(self, max_bytes: int = MAX_SHARED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._texts: dict[str, str] = {}
        self._columns: dict[tuple[str, bytes], Column] = {}

    def column(self, name: str, packed: bytes, decode: Callable[[bytes], Column]) -> Column:
        """The column of this name with these bytes; decoded if it is a new one."""
        known = self._columns.get((name, packed))
        return self._add(name, packed, decode(packed)) if known is None else known

    def _add(self, name: str, packed: bytes, column: Column) -> Column:
        if self._bytes > self._max_bytes:
            self._texts.clear()
            self._columns.clear()
            self._bytes = 0
        known = self._texts.setdefault
        stored = [known(value, value) if type(value) is str else value for value in column]
        words = chain.from_iterable(value for value in stored if type(value) is list)
        self._bytes += sum(map(getsizeof, chain(stored, words, (packed, stored))))
        self._columns[name, packed] = stored
        return stored
