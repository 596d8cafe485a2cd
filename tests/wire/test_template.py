"""Reading by what differs gives what reading in full gives, or leaves it to that."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.limits import WireError
from gpu_monitor.wire.schema import check_snapshot
from gpu_monitor.wire.template import Template, make_template
from tests.support.snapshots import make_gpus, make_processes, make_snapshot


class Learned:
    """A template of `message`, and the snapshot that it keeps up to date."""

    def __init__(self, message: dict[str, Any]) -> None:
        data = pack(message)
        unpacked: Any = unpack(data)
        self.snapshot = check_snapshot(unpacked)
        template = make_template(data, unpacked)
        assert template is not None
        self.template: Template = template
        self.moved: dict[str, set[str]] = {}

    def read(self, data: bytes) -> Snapshot | None:
        """The snapshot with what `data` says, slow members too; None where it cannot tell."""
        if not self.take(data):
            return None
        self.catch_up()
        return self.snapshot

    def take(self, data: bytes) -> bool:
        reading = self.template.read(data)
        if reading is None:
            return False
        for part, keys in self.template.take(reading, self.snapshot).items():
            self.moved.setdefault(part, set()).update(keys)
        return True

    def catch_up(self) -> None:
        for part, keys in self.template.catch_up(self.snapshot).items():
            self.moved.setdefault(part, set()).update(keys)


def in_full(data: bytes) -> Snapshot | None:
    try:
        return check_snapshot(unpack(data))
    except WireError:
        return None


def later(**members: Any) -> bytes:
    """The message after the first one, packed."""
    return pack(make_snapshot(sequence=2, **members))


def test_moving_values_are_read_and_the_rest_stays() -> None:
    learned = Learned(make_snapshot())
    assert learned.read(later()) is not None
    learned.moved.clear()
    before = copy.deepcopy(learned.snapshot)
    uuids, idle = (learned.snapshot["gpus"][key] for key in ("uuid", "idle_since"))
    moved = make_gpus(2, utilization_percent=[None, 99], power_watts=[700, 70_000])
    system = {**before["system"], "cpu_percent": 3}
    data = pack(make_snapshot(sequence=3, gpus=moved, system=system))
    after = learned.read(data)
    assert after is not None and after == in_full(data)
    assert after["gpus"]["uuid"] is uuids and after["gpus"]["idle_since"] is idle
    assert learned.moved == {
        "gpus": {"utilization_percent", "power_watts"},
        "system": {"cpu_percent"},
    }


def test_nothing_is_taken_in_before_somebody_says_so() -> None:
    learned = Learned(make_snapshot())
    before = copy.deepcopy(learned.snapshot)
    assert learned.template.read(later(gpus=make_gpus(2, power_watts=[1, 2]))) is not None
    assert learned.snapshot == before
    assert learned.read(later()) == in_full(later())


def test_slow_values_are_read_only_when_asked_for_and_then_the_latest() -> None:
    learned = Learned(make_snapshot())
    for sequence in (2, 3):
        gpus = make_gpus(2, sm_clock_mhz=[sequence] * 2)
        assert learned.take(pack(make_snapshot(sequence=sequence, gpus=gpus)))
    assert learned.snapshot["gpus"]["sm_clock_mhz"] == [345, 345] and "gpus" not in learned.moved
    learned.catch_up()
    assert learned.snapshot["gpus"]["sm_clock_mhz"] == [3, 3]
    assert learned.moved["gpus"] == {"sm_clock_mhz"}


def test_a_message_told_twice_is_left_to_reading_in_full() -> None:
    learned = Learned(make_snapshot())
    assert learned.take(later()) and not learned.take(later())


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
    learned = Learned(make_snapshot())
    assert learned.read(later(**members)) is None


@pytest.mark.parametrize(
    "value", [-1, 2**53 + 1, 1.5, float("nan"), True, "9", [], {}, 2**64 - 1, -(2**40)]
)
def test_a_value_that_is_none_is_left_to_be_refused(value: Any) -> None:
    learned = Learned(make_snapshot())
    assert learned.read(later(gpus=make_gpus(2, utilization_percent=[value, 0]))) is None


@pytest.mark.parametrize("value", [-1, 1.5, float("nan"), True, "9", [], {}, 2**64 - 1])
def test_a_slow_value_that_is_none_is_left_to_be_refused_too(value: Any) -> None:
    learned = Learned(make_snapshot())
    assert learned.read(later(gpus=make_gpus(2, sm_clock_mhz=[value, 0]))) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["sampled_boottime", "sampled_at"])
def test_no_clock_is_infinite(key: str, value: float) -> None:
    learned = Learned(make_snapshot())
    assert learned.read(pack(make_snapshot(sequence=2) | {key: value})) is None


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.5, -273.15, 1.7e9, 2.0**53 - 1])
def test_every_usual_float_is_read(value: float) -> None:
    learned = Learned(make_snapshot())
    read = learned.read(later(sampled_boottime=value))
    assert read is not None and read["sampled_boottime"] == value


@pytest.mark.parametrize("value", [2.0**53, -(2.0**53), 1e300])
def test_a_float_beyond_2_53_is_left_to_reading_in_full(value: float) -> None:
    learned = Learned(make_snapshot())
    assert learned.read(later(sampled_boottime=value)) is None


def test_columns_of_another_length_are_left_to_be_refused() -> None:
    learned = Learned(make_snapshot())
    assert learned.read(later(gpus=make_gpus(2, power_watts=[1, 2, 3]))) is None


def test_a_message_packed_in_another_way_has_no_template() -> None:
    data = pack(make_snapshot())
    longer = data.replace(b"\xa8sequence\x01", b"\xa8sequence\xcd\x00\x01")
    unpacked: Any = unpack(longer)
    assert longer != data and make_template(longer, unpacked) is None


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


@given(columns, columns, columns, st.integers(-5, 2**60), st.floats())
def test_what_is_read_is_what_reading_in_full_gives(
    power: list[Any], idle: list[Any], clock: list[Any], sequence: int, boottime: float
) -> None:
    learned = Learned(make_snapshot())
    message = make_snapshot(
        sequence=sequence,
        sampled_boottime=boottime,
        gpus=make_gpus(2, power_watts=power, idle_since=idle, sm_clock_mhz=clock),
    )
    read = learned.read(pack(message))
    assert read is None or read == in_full(pack(message))


@given(st.lists(st.tuples(columns, columns, st.integers(0, 3), st.booleans()), max_size=6))
def test_a_row_of_messages_is_read_as_in_full(
    moves: list[tuple[list[Any], list[Any], int, bool]],
) -> None:
    learned = Learned(make_snapshot())
    system, expected = learned.snapshot["system"], copy.deepcopy(learned.snapshot)
    for sequence, (power, clock, load, ask) in enumerate(moves, 2):
        message = make_snapshot(
            sequence=sequence,
            gpus=make_gpus(2, power_watts=power, sm_clock_mhz=clock),
            system={**system, "cpu_percent": load},
        )
        data = pack(message)
        if learned.take(data):
            latest = in_full(data)
            assert latest is not None
            expected = latest
        if ask:
            learned.catch_up()
            assert learned.snapshot == expected
    learned.catch_up()
    assert learned.snapshot == expected


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.data())
def test_no_mutation_is_read_otherwise_than_in_full(
    changes: list[tuple[int, int]], chance: st.DataObject
) -> None:
    learned = Learned(make_snapshot())
    data = bytearray(later())
    for place, value in changes:
        data[place % len(data)] = value
    if chance.draw(st.booleans()):
        cut = chance.draw(st.integers(0, len(data)))
        data = data[:cut] + chance.draw(st.binary(max_size=9)) + data[cut:]
    read = learned.read(bytes(data))
    assert read is None or read == in_full(bytes(data))
