"""A snapshot too large for the wire sheds processes, and says so."""

from collections.abc import Sequence

from gpu_monitor.collector.columns import ProcessRow
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import Snapshot, Table
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, MAX_ROWS, MAX_WORDS

MAX_GPUS = MAX_ROWS["gpus"]
MAX_PROCESSES = MAX_ROWS["processes"]


def largest(rows: Sequence[ProcessRow], limit: int = MAX_PROCESSES) -> list[ProcessRow]:
    """At most `limit` rows, those with the most GPU memory, in their order."""
    if len(rows) <= limit:
        return list(rows)
    by_memory = sorted(rows, key=lambda row: row.use.memory_bytes or 0, reverse=True)
    kept = {id(row) for row in by_memory[:limit]}
    return [row for row in rows if id(row) in kept]


def packed(snapshot: Snapshot, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """`snapshot` as bytes for the wire, at most `limit` of them.

    What is larger is sent with half of its processes, then a quarter, and so on: those with the
    most GPU memory. The broker would cut the connection over a larger message, every time.
    """
    data = pack(snapshot)
    rows = len(snapshot["processes"]["pid"])
    while len(data) > limit and rows:
        rows //= 2
        data = pack(_with_fewer(snapshot, rows))
    return data


def _with_fewer(snapshot: Snapshot, rows: int) -> Snapshot:
    table = snapshot["processes"]
    said = f"message too large: {rows} of {len(table['pid'])} processes shown"
    less = snapshot.copy()
    less["problems"] = [said, *snapshot["problems"]][:MAX_WORDS]
    less["processes"] = _largest_of_table(table, rows)
    return less


def _largest_of_table(table: Table, rows: int) -> Table:
    sizes = [size or 0 for size in table["gpu_memory_mib"]]
    by_memory = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    kept = sorted(by_memory[:rows])
    return {name: [column[row] for row in kept] for name, column in table.items()}
