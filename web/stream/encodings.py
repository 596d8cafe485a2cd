"""The three encodings of the stream, and the frame that carries a message in one of them."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import WSMsgType

from gpu_monitor.wire.codec import pack

Message: TypeAlias = dict[str, Any]

_FINAL = 0x80


@dataclass(frozen=True)
class Encoding:
    """A subprotocol: how it encodes a message, and whether frames carry it as text or binary."""

    protocol: str
    opcode: WSMsgType
    encode: Callable[[Message], bytes]
    """A fleet message may be large: encode it in a thread."""

    def frame(self, message: Message) -> bytes:
        """The complete frame, ready for the transport of every viewer with this encoding."""
        return frame(self.opcode, self.encode(message))


def encode_json(message: object) -> bytes:
    """Compact JSON. ValueError for NaN and Infinity, which browsers reject."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def encode_document(document: Message) -> bytes:
    """The same JSON as `encode_json`, encoded host by host.

    For use in a thread: `json.dumps` holds the interpreter lock until it returns, so encoding a
    large fleet in one call would delay every viewer.
    """
    hosts = document.get("hosts", {}).items()
    rest = encode_json({key: value for key, value in document.items() if key != "hosts"})
    members = b",".join(encode_json(name) + b":" + encode_json(host) for name, host in hosts)
    return rest[:-1] + (b"," if len(rest) > 2 else b"") + b'"hosts":{' + members + b"}}"


def encode_message(message: Message) -> bytes:
    """A fleet or patch message as JSON."""
    if message["type"] != "fleet":
        return encode_json(message)
    start = b'{"type":"fleet","sequence":%d,"fleet":' % message["sequence"]
    return start + encode_document(message["fleet"]) + b"}"


def deflate(data: bytes) -> bytes:
    """Raw deflate (RFC 1951), the format of `DecompressionStream("deflate-raw")`.

    The document is mostly numbers. `Z_FILTERED` favors the short Huffman codes of digits over
    matches of three or four bytes: 6 % off a fleet, 5 % off a patch.
    """
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    return compressor.compress(data) + compressor.flush()


def frame(opcode: WSMsgType, payload: bytes) -> bytes:
    """One unfragmented, unmasked websocket frame (RFC 6455, section 5.2).

    aiohttp frames a message again for each connection; this frames it once for all of them.
    """
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", _FINAL | opcode, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", _FINAL | opcode, 126, size)
    else:
        header = struct.pack("!BBQ", _FINAL | opcode, 127, size)
    return header + payload


JSON = Encoding("gpu-monitor.v1.json", WSMsgType.TEXT, encode_message)
MSGPACK = Encoding("gpu-monitor.v1.msgpack", WSMsgType.BINARY, pack)
DEFLATE = Encoding("gpu-monitor.v1.deflate", WSMsgType.BINARY, lambda m: deflate(encode_message(m)))

ENCODINGS = {encoding.protocol: encoding for encoding in (JSON, MSGPACK, DEFLATE)}
