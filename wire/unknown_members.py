"""Members that a newer collector adds: any JSON, within limits."""

import math
from typing import Any, cast

from gpu_monitor.wire.limits import (
    MAX_COUNT,
    MAX_DEPTH,
    MAX_KEY,
    MAX_MEMBERS,
    MAX_ROWS,
    MAX_TEXT,
    MAX_UNKNOWN,
    WireError,
)
from gpu_monitor.wire.plain_text import plain_text

_MAX_LENGTH = MAX_ROWS["processes"]


class Allowance:
    """How many more values of unknown members one message may hold."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_UNKNOWN

    def spend(self, values: int, what: str) -> None:
        """Raises WireError once the message holds more than MAX_UNKNOWN of them."""
        self._left -= values
        if self._left < 0:
            raise WireError("limit", f"at {what} there are over {MAX_UNKNOWN} unknown values")


def check_unknown(value: object, what: str, allowance: Allowance, depth: int = MAX_DEPTH) -> object:
    """`value` with plain texts, and without the members that are null: in a patch, null deletes.

    Raises WireError for what is not JSON, and beyond the limits.
    """
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        if len(value) > MAX_TEXT:
            raise WireError("limit", f"{what} is longer than {MAX_TEXT} characters")
        return plain_text(value)
    if type(value) is int or type(value) is float:
        if not math.isfinite(value) or abs(value) > MAX_COUNT:
            raise WireError("value", f"{what} is not a finite number within 2^53")
        return value
    if depth == 0:
        raise WireError("limit", f"{what} is nested deeper than {MAX_DEPTH}")
    if type(value) is list:
        if len(value) > _MAX_LENGTH:
            raise WireError("limit", f"{what} is longer than {_MAX_LENGTH}")
        allowance.spend(len(value), what)
        return [check_unknown(item, what, allowance, depth - 1) for item in value]
    members = _checked_object(value, what)
    allowance.spend(len(members), what)
    return {
        key: check_unknown(member, what, allowance, depth - 1)
        for key, member in members.items()
        if member is not None
    }


def _checked_object(value: object, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise WireError("type", f"{what} is not JSON")
    if len(value) > MAX_MEMBERS:
        raise WireError("limit", f"{what} has over {MAX_MEMBERS} members")
    if any(type(key) is not str or len(key) > MAX_KEY for key in value):
        raise WireError("type", f"{what} has a key that is not text of up to {MAX_KEY} characters")
    if not "".join(value).isprintable():
        raise WireError("type", f"{what} has a key that is not printable")
    return cast(dict[str, Any], value)
