"""Atomic file replacement: readers see the old content or the new, never a part."""

import os
import tempfile


def write_atomically(path: str, text: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Create or replace the file, and sync it to disk. Raises OSError.

    The file has exactly this mode from the start. Root gives it to `owner` (uid, gid).
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
    except BaseException:  # an interrupt, too, leaves no temporary file behind
        os.unlink(temporary)
        raise
