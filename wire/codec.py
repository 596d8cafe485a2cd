"""Documents to msgpack bytes and back; the only import of msgpack."""

from typing import cast

import msgpack


def pack(document: object) -> bytes:
    """`document` (JSON-shaped: no NaN, keys are text) as msgpack bytes."""
    return cast(bytes, msgpack.packb(document))


def unpack(data: bytes | memoryview) -> object:
    """A message of our own broker, of any size: the document of a large fleet is over 1 MiB.

    What collectors send is read by `gpu_monitor.wire.changes`, which trusts no byte of it.
    """
    return cast(object, msgpack.unpackb(data, strict_map_key=True))
