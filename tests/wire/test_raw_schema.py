"""wire.raw_schema beside wire.schema, which it replaces: the same snapshots, the same refusals."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.limits import WireError
from gpu_monitor.wire.patch import same
from gpu_monitor.wire.raw_schema import Reading, open_message, read_snapshot
from gpu_monitor.wire.schema import check_snapshot
from tests.support.snapshots import make_gpus, make_snapshot
from tests.wire.test_schema import WRONG_MEMBERS, anything, columns_of_numbers, paths, replaced

Result = tuple[Any, str]
"""The snapshot, or the reason of the refusal."""


def by_old(data: bytes) -> Result:
    try:
        return check_snapshot(unpack(data)), ""
    except WireError as error:
        return None, error.reason


def by_new(data: bytes, previous: Reading | None = None) -> Result:
    try:
        return read_snapshot(open_message(data), previous).snapshot, ""
    except WireError as error:
        return None, error.reason


def agree(data: bytes) -> None:
    """The new one also reads the same alone and after another snapshot of the same host."""
    previous = read_snapshot(open_message(pack(make_snapshot())))
    alone, beside = by_new(data), by_new(data, previous)
    assert_equal(by_old(data), alone)
    assert alone[1] == beside[1] and same(alone[0], beside[0])


def assert_equal(old: Result, new: Result) -> None:
    """Of several faults each reader may name another one; that they name one has to agree."""
    assert bool(old[1]) == bool(new[1]) and same(old[0], new[0])


@pytest.mark.parametrize(("members", "reason"), WRONG_MEMBERS)
def test_both_give_one_fault_the_same_reason(members: dict[str, Any], reason: str) -> None:
    data = pack(make_snapshot(**members))
    assert by_old(data)[1] == by_new(data)[1] == reason


@given(anything)
def test_both_refuse_the_same_hostile_messages(message: object) -> None:
    agree(pack(message))


@given(st.sampled_from(paths(make_snapshot())), anything)
def test_both_agree_about_any_value_in_any_place(path: tuple[Any, ...], value: object) -> None:
    agree(pack(replaced(path, value)))


@given(columns_of_numbers, columns_of_numbers, columns_of_numbers)
def test_both_agree_about_columns_of_numbers(
    power: list[Any], idle: list[Any], clock: list[Any]
) -> None:
    agree(
        pack(
            make_snapshot(gpus=make_gpus(2, power_watts=power, idle_since=idle, sm_clock_mhz=clock))
        )
    )


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.data())
def test_a_mutation_is_read_alike_or_refused(
    changes: list[tuple[int, int]], chance: st.DataObject
) -> None:
    data = bytearray(pack(make_snapshot(sequence=2)))
    for place, value in changes:
        data[place % len(data)] = value
    if chance.draw(st.booleans()):
        cut = chance.draw(st.integers(0, len(data)))
        data = data[:cut] + chance.draw(st.binary(max_size=9)) + data[cut:]
    old, new = by_old(bytes(data)), by_new(bytes(data))
    if new[1] != "value":  # the new one also bounds the clocks, at 2^53 seconds as all numbers
        assert_equal(old, new)
