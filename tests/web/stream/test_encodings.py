"""The bytes of a message in each encoding, and of the frame around them."""

import json
import zlib
from typing import Any

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.stream.encodings import (
    DEFLATE,
    JSON,
    MSGPACK,
    encode_document,
    encode_json,
    frame,
)
from gpu_monitor.wire.codec import unpack

MESSAGE = {"type": "patch", "sequence": 2, "patch": {"now": 1.5, "hosts": {"ä": None}}}


@pytest.mark.parametrize(("size", "header"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_frame_states_its_length_in_the_shortest_form(size: int, header: int) -> None:
    data = frame(WSMsgType.TEXT, b"x" * size)
    assert len(data) == header + size
    assert data[0] == 0x81


def test_json_is_compact_and_not_escaped() -> None:
    expected = '{"type":"patch","sequence":2,"patch":{"now":1.5,"hosts":{"ä":null}}}'.encode()
    assert JSON.frame(MESSAGE) == bytes([0x81, len(expected)]) + expected


def test_a_deflate_frame_is_raw_deflated_json() -> None:
    data = DEFLATE.frame(MESSAGE)
    assert data[0] == 0x82
    assert json.loads(zlib.decompress(data[2:], -15)) == MESSAGE


def test_a_msgpack_frame_is_binary_msgpack() -> None:
    data = MSGPACK.frame(MESSAGE)
    assert data[0] == 0x82
    assert unpack(data[2:]) == MESSAGE


KEYS = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_document_encoded_host_by_host_is_the_same_json(rest: Any, hosts: Any) -> None:
    document = {key: value for key, value in rest.items() if key != "hosts"} | {"hosts": hosts}
    assert encode_document(document) == encode_json(document)
    message = {"type": "fleet", "sequence": 3, "fleet": document}
    assert JSON.encode(message) == encode_json(message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_numbers_that_browsers_cannot_read(value: float) -> None:
    with pytest.raises(ValueError):
        encode_json({"now": value})


def test_encodings_are_named_by_their_subprotocol() -> None:
    names: list[Any] = [JSON.protocol, MSGPACK.protocol, DEFLATE.protocol]
    assert names == [f"gpu-monitor.v1.{form}" for form in ("json", "msgpack", "deflate")]
