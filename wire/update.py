"""One message from whatever answers at the broker's updates port, read without trust."""

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

from gpu_monitor.wire.codec import unpack

Update: TypeAlias = dict[str, Any]
"""A message of the broker: run_id, and sequence with patch or fleet, or recent."""

_SCALARS = frozenset((str, int, float, bool, type(None)))
_MAX_JSON_DEPTH = 32
_MAX_RUN_ID = 64


class UpdateError(ValueError):
    """A message that is not used; the text says why, in words of this program alone."""


def read_update(frames: Sequence[bytes]) -> tuple[bytes, Update]:
    """Topic and content of a message; raises UpdateError for whatever is not one of a broker."""
    if len(frames) != 2:
        raise UpdateError(f"it has {len(frames)} frames in place of 2")
    topic, data = frames
    try:
        update = unpack(data)
    except Exception:  # msgpack raises several classes, and passes on some of Python's
        raise UpdateError("it is not msgpack") from None
    if type(update) is not dict:
        raise UpdateError("it is not a map")
    _check_json(update)
    _check_envelope(topic, update)
    return topic, update


def _check_envelope(topic: bytes, update: Update) -> None:
    run_id = update.get("run_id")
    if type(run_id) is not str or not 0 < len(run_id) <= _MAX_RUN_ID:
        raise UpdateError("its run_id is missing or of another type")
    if topic.startswith(b"recent/"):
        if type(update.get("recent", 0)) not in (dict, type(None)):
            raise UpdateError("its recent is missing or of another type")
        return
    if type(update.get("sequence")) is not int:
        raise UpdateError("its sequence is missing or of another type")
    content = "patch" if topic == b"patch" else "fleet"
    if type(update.get(content)) is not dict:
        raise UpdateError(f"its {content} is missing or of another type")


def _check_json(value: object, depth: int = _MAX_JSON_DEPTH) -> None:
    """No bytes, no NaN, no keys but text, nothing nested without end."""
    items: Collection[object]
    if isinstance(value, dict):
        items, named = value.values(), set(map(type, value)) <= {str}
    elif isinstance(value, list):
        items, named = value, True
    else:
        raise UpdateError("it is not JSON")
    if not depth or not named:
        raise UpdateError("it is not JSON")
    types = set(map(type, items))
    if float in types and not all(math.isfinite(item) for item in items if type(item) is float):
        raise UpdateError("it holds a number that is not finite")
    if not types <= _SCALARS:
        for item in items:
            if type(item) not in _SCALARS:
                _check_json(item, depth - 1)
