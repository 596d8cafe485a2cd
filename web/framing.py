"""A message to viewers becomes one websocket frame, the same bytes for all of them."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from wire.codec import pack

Message: TypeAlias = dict[str, Any]

_TEXT, _BINARY = 1, 2


@dataclass(frozen=True)
class Encoding:
    """What a subprotocol does to a message; `opcode` is RFC 6455's for text or binary."""

    protocol: str
    opcode: int
    encode: Callable[[Message], bytes]

    def frame(self, message: Message) -> bytes:
        """The whole unfragmented, unmasked frame: header and payload."""
        return frame(self.opcode, self.encode(message))


def encode_json(message: object) -> bytes:
    """Compact JSON; ValueError for NaN and Infinity, which no browser can read."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def deflate(data: bytes) -> bytes:
    """Raw deflate (RFC 1951), as `DecompressionStream("deflate-raw")` reads it."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
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


JSON = Encoding("gpu-monitor.v1.json", _TEXT, encode_json)
MSGPACK = Encoding("gpu-monitor.v1.msgpack", _BINARY, pack)
DEFLATE = Encoding("gpu-monitor.v1.deflate", _BINARY, lambda m: deflate(encode_json(m)))

ENCODINGS = {encoding.protocol: encoding for encoding in (JSON, MSGPACK, DEFLATE)}
