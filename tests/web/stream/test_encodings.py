"""Frames out are RFC 6455's; of frames in only close, ping and pong are taken."""

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.stream.encodings import (
    CLOSE,
    DEFLATE,
    JSON,
    MSGPACK,
    PING,
    PONG,
    TEXT,
    BadFrame,
    close_frame,
    encode_document,
    encode_json,
    frame,
    read_frames,
)
from gpu_monitor.wire.codec import unpack

MESSAGE = {"type": "patch", "sequence": 2, "patch": {"now": 1.5, "hosts": {"ä": None}}}


def client_frame(opcode: int, payload: bytes = b"", first: int = 0x80) -> bytes:
    mask = b"\x01\x02\x03\x04"
    masked = bytes(c ^ mask[i % 4] for i, c in enumerate(payload))
    return bytes([first | opcode, 0x80 | len(payload)]) + mask + masked


@pytest.mark.parametrize(("size", "header"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_frame_says_its_length_in_the_shortest_form(size: int, header: int) -> None:
    data = frame(TEXT, b"x" * size)
    assert len(data) == header + size
    assert data[0] == 0x81


def test_json_is_compact_and_as_written() -> None:
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
def test_a_document_made_host_by_host_is_the_same_json(rest: Any, hosts: Any) -> None:
    document = {key: value for key, value in rest.items() if key != "hosts"} | {"hosts": hosts}
    assert encode_document(document) == encode_json(document)
    message = {"type": "fleet", "sequence": 3, "fleet": document}
    assert JSON.encode(message) == encode_json(message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_never_holds_what_a_browser_cannot_read(value: float) -> None:
    with pytest.raises(ValueError):
        encode_json({"now": value})


def test_a_close_frame_gives_code_and_reason() -> None:
    assert close_frame(1001, "bye") == b"\x88\x05\x03\xe9bye"


@given(st.lists(st.tuples(st.sampled_from([CLOSE, PING, PONG]), st.binary(max_size=125))))
def test_control_frames_are_read_however_they_are_cut(frames: list[tuple[int, bytes]]) -> None:
    data = b"".join(client_frame(opcode, payload) for opcode, payload in frames)
    read: list[tuple[int, bytes]] = []
    rest = b""
    for start in range(0, len(data), 7):
        more, rest = read_frames(rest + data[start : start + 7])
        read += more
    assert (read, rest) == (frames, b"")


@pytest.mark.parametrize("opcode", [0, 1, 2])
def test_a_data_frame_is_refused_by_its_first_two_bytes(opcode: int) -> None:
    with pytest.raises(BadFrame) as refused:
        read_frames(bytes([0x80 | opcode, 0xFF]))
    assert refused.value.code == 1008


@pytest.mark.parametrize(
    "data",
    [
        b"\x89\x00",  # not masked
        b"\x89\xfe\x01\x00",  # a control frame of over 125 bytes
        b"\x09\x80",  # a control frame in pieces
        b"\xc9\x80",  # a reserved bit
        b"\x83\x80",  # a reserved opcode
        b"\x8b\x80",
    ],
)
def test_what_is_no_frame_of_a_client_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(BadFrame) as refused:
        read_frames(data)
    assert refused.value.code == 1002


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_and_little_is_kept(data: bytes) -> None:
    try:
        frames, rest = read_frames(data)
    except BadFrame as bad:
        assert bad.code in (1002, 1008)
    else:
        assert len(rest) < 131
        assert sum(len(payload) + 6 for _, payload in frames) + len(rest) == len(data)


def test_a_close_code_is_read_from_the_payload() -> None:
    frames, _ = read_frames(client_frame(CLOSE, struct.pack("!H", 1000)))
    assert frames == [(CLOSE, b"\x03\xe8")]


def test_encodings_go_by_their_subprotocol() -> None:
    names: list[Any] = [JSON.protocol, MSGPACK.protocol, DEFLATE.protocol]
    assert names == [f"gpu-monitor.v1.{form}" for form in ("json", "msgpack", "deflate")]
