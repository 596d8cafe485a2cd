"""wire.codec: any bytes become a document or a WireError, nothing else."""

import random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.wire.codec import pack, unpack, unpack_trusted
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, WireError
from gpu_monitor.wire.schema import check_snapshot
from tests.support.snapshots import make_snapshot

PACKED = pack(make_snapshot())


def test_a_document_survives_packing() -> None:
    assert unpack(PACKED) == make_snapshot() == unpack_trusted(PACKED)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_wire_error(data: bytes) -> None:
    try:
        check_snapshot(unpack(data))
    except WireError as error:
        assert error.reason


@given(st.integers(0, 2**32))
def test_a_mutated_snapshot_is_accepted_or_a_wire_error(seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(PACKED)
    for _ in range(dice.randint(1, 8)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    try:
        check_snapshot(unpack(bytes(data[: dice.randint(1, len(data))])))
    except WireError as error:
        assert error.reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 600,
        b"\xa1\xff",
        b"\x81\x01\x01",
        PACKED + b"\x00",
        msgpack.packb(msgpack.ExtType(5, b"x")),
    ],
    ids=["empty", "reserved", "array", "text", "deep", "utf8", "key", "extra", "ext"],
)
def test_what_is_no_document_is_refused_as_msgpack(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        unpack(data)
    assert caught.value.reason == "msgpack"


def test_a_message_over_the_limit_is_refused_by_its_size() -> None:
    with pytest.raises(WireError) as caught:
        unpack(bytes(MAX_MESSAGE_BYTES + 1))
    assert caught.value.reason == "size"
