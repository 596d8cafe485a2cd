"""Documents to msgpack bytes and back; the only import of msgpack."""

from typing import cast

import msgpack

from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES, WireError


def pack(document: object) -> bytes:
    """`document` (JSON-shaped: no NaN, keys are text) as msgpack bytes."""
    return cast(bytes, msgpack.packb(document))


def unpack(data: bytes | memoryview) -> object:
    """A foreign message of at most 1 MiB; WireError for whatever is no msgpack document.

    Never raises anything else, whatever the bytes hold. What they hold still has to be checked:
    bytes and msgpack's own Timestamp come through, which no document has.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("size", f"{len(data)} bytes are over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return cast(object, msgpack.unpackb(data, strict_map_key=True, ext_hook=_no_extension))
    except WireError:
        raise
    except Exception as error:  # msgpack raises five unrelated classes, and lets others through
        raise WireError("msgpack", f"not a msgpack document: {error!r:.100}") from None


def unpack_trusted(data: bytes | memoryview) -> object:
    """A message of our own broker, of any size (a picture of a large fleet is over 1 MiB)."""
    return cast(object, msgpack.unpackb(data, strict_map_key=True))


def _no_extension(code: int, _data: bytes) -> object:
    raise WireError("msgpack", f"extension type {code} is not part of the document")
