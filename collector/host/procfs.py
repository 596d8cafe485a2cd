"""Files of /proc and /sys, read in one go."""

import os


def read_file(path: str, size: int = 65_536) -> bytes:
    """The beginning of a file, `size` bytes at most; OSError as open and read raise it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def read_optional(path: str) -> bytes:
    """The same, and no bytes for a file that is not there or not for us to read."""
    try:
        return read_file(path)
    except OSError:
        return b""
