"""wire.changes: reading by what differs gives what reading in full gives."""

import copy
import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.changes import Last, open_message, read_changes
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, WireError
from gpu_monitor.wire.patch import same
from tests.support.snapshots import (
    make_findings,
    make_gpus,
    make_processes,
    make_snapshot,
    read_snapshot,
)
from tests.wire.test_schema import columns_of_numbers


class Host:
    """A host as the broker keeps it: `snapshot` follows the messages that it is sent."""

    def __init__(self, **members: Any) -> None:
        self.last = Last(read_changes(open_message(pack(make_snapshot(**members)))))

    @property
    def snapshot(self) -> Snapshot:
        return self.last.snapshot

    def send(self, data: bytes) -> bool:
        """Apply a message; return whether only its numbers were decoded."""
        changes = read_changes(open_message(data), self.last)
        self.last.apply(changes)
        return changes.numbers is not None


def later(**members: Any) -> bytes:
    """The message after the first one."""
    return pack(make_snapshot(sequence=2, **members))


def alone(data: bytes) -> Snapshot | None:
    try:
        return read_snapshot(data)
    except WireError:
        return None


def packed_wide(value: Any) -> bytes:
    """The bytes of another msgpack library, with every length and integer in its longest form."""
    packer = msgpack.Packer()
    if type(value) is int and value >= 0:
        return b"\xcf" + value.to_bytes(8, "big")
    if type(value) is list:
        return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(packed_wide, value))
    if type(value) is dict:
        members = (packed_wide(key) + packed_wide(member) for key, member in value.items())
        return b"\xdf" + len(value).to_bytes(4, "big") + b"".join(members)
    if type(value) is str:
        return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
    packed: bytes = packer.pack(value)
    return packed


def reordered(value: Any, chance: random.Random) -> Any:
    if type(value) is not dict:
        return value
    keys = list(value)
    chance.shuffle(keys)
    return {key: reordered(value[key], chance) for key in keys}


def test_only_the_numbers_that_change_are_decoded() -> None:
    host = Host()
    uuids, processes = host.snapshot["gpus"]["uuid"], host.snapshot["processes"]["user"]
    system = {**host.snapshot["system"], "cpu_percent": 3}
    data = later(
        gpus=make_gpus(2, utilization_percent=[None, 99], fan_percent=[1, 2]), system=system
    )
    assert host.send(data)
    assert host.snapshot == alone(data)
    assert host.snapshot["gpus"]["uuid"] is uuids
    assert host.snapshot["processes"]["user"] is processes


def test_nothing_is_applied_before_it_is_accepted() -> None:
    host = Host()
    before = copy.deepcopy(host.snapshot)
    read_changes(
        open_message(later(gpus=make_gpus(2, power_watts=[1, 2]), findings=make_findings("xid"))),
        host.last,
    )
    assert host.snapshot == before


@pytest.mark.parametrize(
    "members",
    [
        {"run_id": "another"},
        {"name": "node2"},
        {"findings": make_findings("xid")},
        {"findings": {}},
        {"gpus": make_gpus(3)},
        {"gpus": make_gpus(2, state=["ok", "lost"])},
        {"gpus": make_gpus(2, shiny=[1, 2])},
        {"processes": make_processes(user=["mallory"])},
        {"extra": 1},
        {"gpus": {}, "processes": {}},
        {"system": {"hostname": "node1", "cpu_percent": 12}},
        {"system": {"hostname": "node1", "memory_total_mib": 64000}},
    ],
)
def test_any_other_change_is_read_in_full(members: dict[str, Any]) -> None:
    host = Host()
    assert not host.send(later(**members))
    assert host.snapshot == alone(later(**members))
    assert host.send(pack(make_snapshot(sequence=3, **members)))


def test_after_reading_in_full_equal_values_are_still_the_same_objects() -> None:
    host = Host()
    before = copy.copy(host.snapshot["gpus"])
    assert not host.send(
        later(findings=make_findings("xid"), gpus=make_gpus(2, power_watts=[5, 6]))
    )
    changed = {key for key, column in host.snapshot["gpus"].items() if column is not before[key]}
    assert changed == {"power_watts"}


def test_a_column_that_is_gone_leaves_the_snapshot_and_may_return() -> None:
    host, gpus = Host(), make_gpus(2)
    del gpus["fan_percent"], gpus["uuid"]
    assert not host.send(later(gpus=gpus)) and host.snapshot["gpus"] == gpus
    assert host.send(pack(make_snapshot(sequence=3, gpus=gpus)))
    assert not host.send(later()) and host.snapshot == alone(later())


@pytest.mark.parametrize(
    "value", [-1, 2**53 + 1, 1.5, float("nan"), True, "9", [], {}, 2**64 - 1, -(2**40), b"1"]
)
@pytest.mark.parametrize("key", ["utilization_percent", "sm_clock_mhz"])
def test_a_value_that_is_not_a_whole_number_is_refused(key: str, value: Any) -> None:
    host = Host()
    with pytest.raises(WireError, match=f"gpus.{key}"):
        host.send(later(gpus=make_gpus(2, **{key: [value, 0]})))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 2.0**54, -(2**54)])
@pytest.mark.parametrize("key", ["sampled_boottime", "sampled_at"])
def test_no_clock_is_infinite_or_beyond_2_to_the_53(key: str, value: float) -> None:
    with pytest.raises(WireError, match=key) as caught:
        Host().send(pack(make_snapshot(sequence=2) | {key: value}))
    assert caught.value.reason == "value"


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.5, -273.15, 1.7e9, 2.0**53 - 1])
def test_every_usual_float_is_read(value: float) -> None:
    host = Host()
    assert host.send(later(sampled_boottime=value))
    assert host.snapshot["sampled_boottime"] == value


@pytest.mark.parametrize("rows", [1, 3])
def test_a_column_of_another_length_is_refused(rows: int) -> None:
    with pytest.raises(WireError) as caught:
        Host().send(later(gpus=make_gpus(2, power_watts=[1] * rows)))
    assert caught.value.reason == "length"


def test_another_packer_s_bytes_are_read_by_their_numbers_alone_too() -> None:
    host = Host()
    first, second = (
        packed_wide(make_snapshot(sequence=number, gpus=make_gpus(2, power_watts=[number, 2])))
        for number in (2, 3)
    )
    assert not host.send(first)  # the same document in other bytes
    assert host.send(second) and host.snapshot == alone(second)


def test_the_order_of_members_means_nothing() -> None:
    host, chance = Host(), random.Random(1)
    for sequence in range(2, 9):
        gpus = make_gpus(2, power_watts=[sequence, 2])
        message = make_snapshot(sequence=sequence, gpus=gpus)
        findings = message.pop("findings")
        assert host.send(pack(reordered(message, chance) | {"findings": findings}))
        assert host.snapshot == message | {"findings": findings}


def test_findings_in_another_order_of_columns_are_the_same_findings() -> None:
    findings = make_findings("xid", "driver")
    host = Host(findings=findings)
    before = copy.copy(host.snapshot["findings"])
    assert not host.send(later(findings=dict(reversed(findings.items()))))
    assert host.snapshot["findings"] == findings
    assert all(column is before[key] for key, column in host.snapshot["findings"].items())


def test_unknown_members_that_repeat_cost_no_full_reading() -> None:
    newer: dict[str, Any] = {"gpus": make_gpus(2, shiny=[1, 2]), "novelty": {"a": [1]}}
    host = Host(**newer)
    assert host.send(later(**newer))
    third: dict[str, Any] = newer | {"novelty": {"a": [2]}}
    assert not host.send(pack(make_snapshot("node1", 3, **third)))
    assert host.snapshot["novelty"] == {"a": [2]}  # type: ignore[typeddict-item] # a newer member


@pytest.mark.parametrize("processes", [0, 1, 511, 512])
def test_a_host_s_number_of_processes_leaves_nothing_behind(processes: int) -> None:
    table = {key: column * processes for key, column in make_processes().items()}
    host = Host(processes=table)
    assert host.send(later(processes=table))
    assert host.snapshot["processes"] == table


@given(columns_of_numbers, columns_of_numbers, columns_of_numbers, st.integers(-5, 2**60))
def test_what_is_read_after_another_message_is_what_is_read_alone(
    power: list[Any], idle: list[Any], clock: list[Any], sequence: int
) -> None:
    data = pack(
        make_snapshot(
            sequence=sequence,
            gpus=make_gpus(2, power_watts=power, idle_since=idle, sm_clock_mhz=clock),
        )
    )
    host = Host()
    try:
        host.send(data)
    except WireError:
        assert alone(data) is None
    else:
        assert same(host.snapshot, alone(data))


@given(st.lists(st.tuples(columns_of_numbers, columns_of_numbers, st.integers(0, 3)), max_size=6))
def test_a_row_of_messages_is_read_as_each_alone(
    steps: list[tuple[list[Any], list[Any], int]],
) -> None:
    host = Host()
    expected: Any = copy.deepcopy(host.snapshot)
    for sequence, (power, clock, load) in enumerate(steps, 2):
        message = make_snapshot(
            sequence=sequence,
            gpus=make_gpus(2, power_watts=power, sm_clock_mhz=clock),
            system={**expected["system"], "cpu_percent": load},
        )
        expected = alone(pack(message)) or expected
        try:
            host.send(pack(message))
        except WireError as error:
            assert error.reason
        assert same(host.snapshot, expected)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.data())
def test_a_mutated_message_is_read_as_alone_or_refused(
    changes: list[tuple[int, int]], chance: st.DataObject
) -> None:
    host, data = Host(), bytearray(later())
    for place, value in changes:
        data[place % len(data)] = value
    if chance.draw(st.booleans()):
        cut = chance.draw(st.integers(0, len(data)))
        data = data[:cut] + chance.draw(st.binary(max_size=9)) + data[cut:]
    try:
        host.send(bytes(data))
    except WireError as error:
        assert error.reason and alone(bytes(data)) is None
    else:
        assert same(host.snapshot, alone(bytes(data)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_snapshot_or_a_wire_error(data: bytes) -> None:
    try:
        read_snapshot(data)
    except WireError as error:
        assert error.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01",
        b"\x81\xa1\xff\x01",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        pack(make_snapshot()) + b"\x00",
    ],
    ids=["empty", "reserved", "deep", "utf8", "array", "extra"],
)
def test_what_is_not_msgpack_is_refused_as_that(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_snapshot(data)
    assert caught.value.reason == "msgpack"


@pytest.mark.parametrize("data", [b"\xdd\xff\xff\xff\xff", b"\x90", b"\x81\x01\x01", b"\x01"])
def test_what_is_not_an_object_with_text_for_keys_is_refused_by_its_type(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_snapshot(data)
    assert caught.value.reason == "type"


def test_a_message_over_the_limit_is_refused_by_its_size() -> None:
    with pytest.raises(WireError) as caught:
        read_snapshot(bytes(MAX_MESSAGE_BYTES + 1))
    assert caught.value.reason == "size"


def test_text_that_is_not_utf_8_is_refused() -> None:
    data = pack(make_snapshot()).replace(b"alice", b"alic\xff")
    with pytest.raises(WireError) as caught:
        read_snapshot(data)
    assert caught.value.reason == "msgpack"
