"""A message to viewers becomes one websocket frame, the same bytes for all of them."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from gpu_monitor.wire.codec import pack

Message: TypeAlias = dict[str, Any]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes of RFC 6455, section 5.2."""
_DATA = frozenset({CONTINUATION, TEXT, BINARY})
_CONTROL = frozenset({CLOSE, PING, PONG})
_MAX_CONTROL_BYTES = 125

GOING_AWAY, PROTOCOL_ERROR, POLICY_VIOLATION = 1001, 1002, 1008
"""Reasons to close, RFC 6455, section 7.4.1."""


@dataclass(frozen=True)
class Encoding:
    """What a subprotocol does to a message; `opcode` is RFC 6455's for text or binary."""

    protocol: str
    opcode: int
    encode: Callable[[Message], bytes]
    """A message as bytes; that of type fleet may be large, and is encoded in a thread."""

    def frame(self, message: Message) -> bytes:
        """The whole unfragmented, unmasked frame: header and payload."""
        return frame(self.opcode, self.encode(message))


def encode_json(message: object) -> bytes:
    """Compact JSON; ValueError for NaN and Infinity, which no browser can read."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def encode_document(document: Message) -> bytes:
    """The same JSON as `encode_json`, made host by host.

    For a thread: the JSON encoder does not let other threads run until it is done, which for a
    large fleet would hold up every viewer for as long as the encoding takes.
    """
    hosts = document.get("hosts", {}).items()
    rest = encode_json({key: value for key, value in document.items() if key != "hosts"})
    members = b",".join(encode_json(name) + b":" + encode_json(host) for name, host in hosts)
    return rest[:-1] + (b"," if len(rest) > 2 else b"") + b'"hosts":{' + members + b"}}"


def encode_message(message: Message) -> bytes:
    """A message of the websocket as JSON."""
    if message["type"] != "fleet":
        return encode_json(message)
    start = b'{"type":"fleet","sequence":%d,"fleet":' % message["sequence"]
    return start + encode_document(message["fleet"]) + b"}"


def deflate(data: bytes) -> bytes:
    """Raw deflate (RFC 1951), as `DecompressionStream("deflate-raw")` reads it.

    A document is numbers for the most part: to prefer a digit's own short code to a match of
    three or four bytes (`Z_FILTERED`) takes 6 % off a fleet and 5 % off a patch.
    """
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    return compressor.compress(data) + compressor.flush()


def frame(opcode: int, payload: bytes) -> bytes:
    """One final frame from a server (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return header + payload


JSON = Encoding("gpu-monitor.v1.json", TEXT, encode_message)
MSGPACK = Encoding("gpu-monitor.v1.msgpack", BINARY, pack)
DEFLATE = Encoding("gpu-monitor.v1.deflate", BINARY, lambda m: deflate(encode_message(m)))

ENCODINGS = {encoding.protocol: encoding for encoding in (JSON, MSGPACK, DEFLATE)}


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; `reason` has at most 123 bytes."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


class BadFrame(Exception):
    """What a viewer sent is not taken; `code` is the reason to close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The control frames in `data`, as opcode and payload, and the bytes that are not yet one.

    BadFrame for a data frame, as soon as its first two bytes are there: a viewer only listens.
    So the rest is never longer than one control frame, whatever is sent.
    """
    frames = []
    start = 0
    while len(data) - start >= 2:
        first, second = data[start], data[start + 1]
        opcode, size = first & 0x0F, second & 0x7F
        if opcode in _DATA:
            raise BadFrame(POLICY_VIOLATION, "this server only tells")
        final = first & 0xF0 == 0x80
        if opcode not in _CONTROL or not final or not second & 0x80 or size > _MAX_CONTROL_BYTES:
            raise BadFrame(PROTOCOL_ERROR, "not a frame of a websocket client")
        end = start + 6 + size
        if len(data) < end:
            break
        mask = data[start + 2 : start + 6]
        payload = bytes(c ^ mask[i % 4] for i, c in enumerate(data[start + 6 : end]))
        frames.append((opcode, payload))
        start = end
    return frames, data[start:]
