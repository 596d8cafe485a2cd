"""Reading by what differs gives what reading in full gives, or leaves it to that."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import make_gpus, make_processes, make_snapshot

from wire.check import WireError, check_snapshot
from wire.codec import pack, unpack
from wire.document import Snapshot
from wire.template import Template, make_template


def learn(message: dict[str, Any]) -> Template:
    data = pack(message)
    unpacked: Any = unpack(data)
    template = make_template(data, unpacked, check_snapshot(unpacked))
    assert template is not None
    return template


def in_full(data: bytes, previous: Snapshot) -> Snapshot | None:
    try:
        return check_snapshot(unpack(data), previous)
    except WireError:
        return None


def test_moving_values_are_read_and_the_rest_is_shared() -> None:
    template = learn(make_snapshot())
    first = template.snapshot
    moved = make_gpus(2, utilization_percent=[None, 99], power_watts=[700, 70_000])
    message = make_snapshot(sequence=77, gpus=moved, system={**first["system"], "cpu_percent": 3})
    second = template.read(pack(message))
    assert second == check_snapshot(message)
    assert second is not None and second["processes"] is first["processes"]
    assert second["gpus"]["uuid"] is first["gpus"]["uuid"]
    assert second["gpus"]["idle_since"] is first["gpus"]["idle_since"]
    assert first["gpus"]["power_watts"] == [71, 71]


@pytest.mark.parametrize(
    "members",
    [
        {"run_id": "another"},
        {"problems": ["words"]},
        {"gpus": make_gpus(3)},
        {"gpus": make_gpus(2, state=["ok", "lost"])},
        {"processes": make_processes(user=["mallory"])},
        {"extra": 1},
        {"gpus": {}, "processes": {}},
        {"system": {"hostname": "node1", "cpu_percent": 12}},
    ],
)
def test_any_other_change_is_left_to_reading_in_full(members: dict[str, Any]) -> None:
    template = learn(make_snapshot())
    assert template.read(pack(make_snapshot(**members))) is None


@pytest.mark.parametrize(
    "value", [-1, 2**53 + 1, 1.5, float("nan"), True, "9", [], {}, 2**64 - 1, -(2**40)]
)
def test_a_value_that_is_none_is_left_to_be_refused(value: Any) -> None:
    template = learn(make_snapshot())
    message = make_snapshot(gpus=make_gpus(2, utilization_percent=[value, 0]))
    assert template.read(pack(message)) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["sampled_boottime", "sampled_at"])
def test_no_clock_is_infinite(key: str, value: float) -> None:
    template = learn(make_snapshot())
    assert template.read(pack(make_snapshot() | {key: value})) is None


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.5, -273.15, 1.7e9, 2.0**53 - 1])
def test_every_usual_float_is_read(value: float) -> None:
    template = learn(make_snapshot())
    read = template.read(pack(make_snapshot(sampled_boottime=value)))
    assert read is not None and read["sampled_boottime"] == value


@pytest.mark.parametrize("value", [2.0**53, -(2.0**53), 1e300])
def test_a_float_beyond_2_53_is_left_to_reading_in_full(value: float) -> None:
    template = learn(make_snapshot())
    assert template.read(pack(make_snapshot(sampled_boottime=value))) is None


def test_columns_of_another_length_are_left_to_be_refused() -> None:
    template = learn(make_snapshot())
    message = make_snapshot(gpus=make_gpus(2, power_watts=[1, 2, 3]))
    assert template.read(pack(message)) is None


def test_a_message_packed_in_another_way_has_no_template() -> None:
    data = pack(make_snapshot())
    longer = data.replace(b"\xa8sequence\x01", b"\xa8sequence\xcd\x00\x01")
    unpacked: Any = unpack(longer)
    assert longer != data and make_template(longer, unpacked, check_snapshot(unpacked)) is None


columns = st.lists(
    st.one_of(
        st.none(),
        st.integers(0, 2**20),
        st.floats(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
    ),
    min_size=1,
    max_size=3,
)


@given(columns, columns, st.integers(-5, 2**60), st.floats())
def test_what_is_read_is_what_reading_in_full_gives(
    power: list[Any], idle: list[Any], sequence: int, boottime: float
) -> None:
    template = learn(make_snapshot())
    first = template.snapshot
    message = make_snapshot(
        sequence=sequence,
        sampled_boottime=boottime,
        gpus=make_gpus(2, power_watts=power, idle_since=idle),
    )
    data = pack(message)
    read = template.read(data)
    assert read is None or read == in_full(data, first)


@given(st.lists(st.tuples(columns, st.integers(0, 3)), max_size=6))
def test_a_row_of_messages_is_read_as_in_full(moves: list[tuple[list[Any], int]]) -> None:
    template = learn(make_snapshot())
    expected = template.snapshot
    for power, load in moves:
        system = {**expected["system"], "cpu_percent": load}
        data = pack(make_snapshot(gpus=make_gpus(2, power_watts=power), system=system))
        read = template.read(data)
        assert template.snapshot == (expected if read is None else in_full(data, expected))
        expected = template.snapshot


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.data())
def test_no_mutation_is_read_otherwise_than_in_full(
    changes: list[tuple[int, int]], chance: st.DataObject
) -> None:
    template = learn(make_snapshot())
    first = template.snapshot
    data = bytearray(pack(make_snapshot(sequence=2)))
    for place, value in changes:
        data[place % len(data)] = value
    if chance.draw(st.booleans()):
        cut = chance.draw(st.integers(0, len(data)))
        data = data[:cut] + chance.draw(st.binary(max_size=9)) + data[cut:]
    read = template.read(bytes(data))
    assert read is None or read == in_full(bytes(data), first)
