"""A file written whole or not at all: whoever reads meanwhile sees the old one or the new one."""

import os
import tempfile


def write_whole(path: str, text: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replaces `path`, or makes it; `owner` (uid, gid) is taken up where we may. OSError.

    It never has another mode than this, not even for a moment, and is on the disk afterwards.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path) or ".")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, *owner)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, mode)
        os.replace(temporary, path)
    except BaseException:  # an interrupted one leaves nothing behind either
        os.unlink(temporary)
        raise
