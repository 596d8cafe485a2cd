"""Values cut to what the broker accepts, so that none of them costs the whole snapshot; pure."""

from collections.abc import Sequence
from typing import Any

from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.wire.document import TABLES, Column, Kind, Scalars, Table
from gpu_monitor.wire.limits import MAX_COUNT, MAX_TEXT, MAX_WORDS

_UNKNOWN = frozenset({None})
MAX_LISTED = 8
"""Names and numbers in one sentence: more are only counted."""


def listed(items: Sequence[object], limit: int = MAX_LISTED) -> str:
    """The items in one line, like `1, 2, 3, … and 425 more`."""
    shown = ", ".join(map(str, items[:limit]))
    return shown if len(items) <= limit else f"{shown}, … and {len(items) - limit} more"


def fitted_text(text: str, limit: int = MAX_TEXT) -> str:
    """One line of printable characters, at most `limit` of them."""
    return text if text.isprintable() and len(text) <= limit else clean(text, limit)


def fitted_words(words: Sequence[str], limit: int = MAX_TEXT) -> list[str]:
    """At most as many texts as the wire carries; the last one counts those left out."""
    shown = [fitted_text(text, limit) for text in words[:MAX_WORDS]]
    if len(words) > MAX_WORDS:
        shown[-1] = f"… and {len(words) - MAX_WORDS + 1} more"
    return shown


def fitted_value(value: Any, kind: Kind | None, limit: int = MAX_TEXT) -> Any:
    """A value of a column or field of this kind; None for a number that cannot be one."""
    if type(value) is str:
        return fitted_text(value, limit)
    if type(value) is list:
        return fitted_words(value, limit)
    if type(value) is int or type(value) is float:
        return value if _is_valid(value, kind) else None
    return value


def _is_valid(number: float, kind: Kind | None) -> bool:
    if kind is Kind.COUNT or kind is Kind.ROW:
        return type(number) is int and 0 <= number <= MAX_COUNT
    return -MAX_COUNT <= number <= MAX_COUNT  # false for NaN


def fitted_scalars(scalars: Scalars, kinds: dict[str, Kind]) -> Scalars:
    """Scalars that are known: one without a value is left out."""
    fitted = {key: fitted_value(value, kinds.get(key)) for key, value in scalars.items()}
    return {key: value for key, value in fitted.items() if value is not None}


def fitted_table(table: Table, name: str, limit: int = MAX_TEXT) -> Table:
    """A table of the document, `gpus`, `processes` or `disks`."""
    kinds = TABLES[name]
    return {key: _fitted_column(column, kinds.get(key), limit) for key, column in table.items()}


def _fitted_column(column: Column, kind: Kind | None, limit: int) -> Column:
    """Few columns need a change: a column is first checked as a whole, which is quick."""
    if kind is not Kind.WORDS and _fits(set(column) - _UNKNOWN, kind, limit):
        return column
    return [fitted_value(value, kind, limit) for value in column]


def _fits(values: set[Any], kind: Kind | None, limit: int) -> bool:
    """Whether no value needs a change; whole numbers are checked by the least and the largest."""
    if kind is Kind.COUNT and set(map(type, values)) == {int}:
        return bool(min(values) >= 0 and max(values) <= MAX_COUNT)
    return all(fitted_value(value, kind, limit) is value for value in values)
