"""Metric families built from members and columns of the document; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from gpu_monitor.web.api.exposition import Family, joined, label
from gpu_monitor.web.api.metric_names import PREFIX, Measure

Members: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = tuple[Sequence[str | None], Members]
"""A table and the labels of its rows; a row whose labels are None is skipped."""


def gauge(name: str, help: str, samples: Iterable[tuple[str, float]]) -> Family:
    return Family(PREFIX + name, "gauge", help, samples)


def counter(name: str, help: str, samples: Iterable[tuple[str, float]]) -> Family:
    return Family(PREFIX + name, "counter", help, samples)


def info(name: str, help: str, labels: Iterable[str]) -> Family:
    return Family(PREFIX + name, "info", help, [(own, 1) for own in labels])


def state_set(
    name: str, help: str, key: str, states: Sequence[str], current: Iterable[tuple[str, Any]]
) -> Family:
    """1 for the current state, 0 for each of the others."""
    choices = [(state, label(key, state)) for state in states]
    samples = (
        (joined(own, choice), int(state == value))
        for own, value in current
        for state, choice in choices
    )
    return gauge(name, help, samples)


def from_members(
    measures: Iterable[Measure], objects: Sequence[tuple[str, Members]]
) -> Iterator[Family]:
    """A family for each measure, with a sample for each object that has the member."""
    for field, name, help, scale in measures:
        known = [(own, scale(members[field])) for own, members in objects if field in members]
        yield Family(name, "gauge", help, known)


def from_columns(measures: Iterable[Measure], tables: Sequence[Rows]) -> Iterator[Family]:
    """A family for each measure, with a sample for each known value of the column."""
    for field, name, help, scale in measures:
        known = cells(field, tables)
        yield Family(name, "gauge", help, ((own, scale(value)) for own, value in known))


def cells(column: str, tables: Iterable[Rows]) -> Iterator[tuple[str, Any]]:
    """Labels and known values of a column in all tables."""
    for rows, table in tables:
        for own, value in zip(rows, table.get(column, ()), strict=False):
            if value is not None and own is not None:
                yield own, value
