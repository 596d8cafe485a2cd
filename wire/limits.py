"""How much a message may hold, and the error that refuses it."""

import re

MAX_MESSAGE_BYTES = 1 << 20
MAX_ROWS = {"gpus": 256, "processes": 512, "disks": 32, "findings": 256}
MAX_MEMBERS = 128
"""Members of one object: columns of a table, fields of `system`, unknown members."""
MAX_TEXT = 4096
MAX_KEY = 128
MAX_WORDS = 32
MAX_DEPTH = 8
MAX_COUNT = 2**53
MAX_UNKNOWN = 32_768
"""Values in members of a newer collector, all together: each is checked one by one."""

_HOST_NAME = re.compile(r"[A-Za-z0-9._:-]{1,253}")


class WireError(ValueError):
    """A refused message; `reason` is one of a few short words that refusals are counted by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_host_name(name: object) -> bool:
    """Whether `name` may be a key of `hosts`."""
    return isinstance(name, str) and _HOST_NAME.fullmatch(name) is not None
