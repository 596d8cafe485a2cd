"""Files of /proc and /sys, read in one go, and what a process's own files say about it."""

import os


def read_file(path: str, size: int = 65_536) -> bytes:
    """The beginning of a file, `size` bytes at most; OSError as open and read raise it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def read_optional(path: str) -> bytes:
    """The same; empty for a file that does not exist or that we may not read."""
    try:
        return read_file(path)
    except OSError:
        return b""


def stat_fields(stat: bytes) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on, the process's state.

    The name in the second field may hold spaces and brackets (proc(5)).
    """
    return stat[stat.rindex(b")") + 2 :].split(b" ", 22)


def start_ticks(stat: bytes) -> int:
    """Clock ticks from boot to the start of the process: field 22 of /proc/PID/stat."""
    return int(stat_fields(stat)[19])


def is_hidden(pid: int) -> bool:
    """Whether a process has this `pid` though /proc does not show it to us (hidepid)."""
    try:
        os.kill(pid, 0)  # sends no signal
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def is_zombie(stat: bytes) -> bool:
    """Whether all threads of a process have ended and its parent has not reaped it yet."""
    fields = stat_fields(stat)
    return fields[0] in b"ZX" and int(fields[17]) <= 1


def uninterruptible_sleep(folder: str, stat: bytes) -> str | None:
    """Identifies the sleep that a process is in and no signal ends (state D); None for none.

    Two equal texts are the same sleep, because a thread that wakes up counts a switch. `folder` is
    the process's in /proc. It is the first thread's sleep. Where that one has ended and others
    have not, as when a thread of a killed process hangs in the driver, it is one of theirs.
    """
    state = stat_fields(stat)[0]
    if state == b"D":
        return _sleep_id(folder)
    if state != b"Z":
        return None
    try:
        threads = [f"{folder}/task/{thread}" for thread in os.listdir(f"{folder}/task")]
        asleep = (each for each in threads if stat_fields(read_file(f"{each}/stat"))[0] == b"D")
        return next(filter(None, map(_sleep_id, asleep)), None)
    except (OSError, ValueError, IndexError):  # it is ending just now
        return None


def _sleep_id(folder: str) -> str | None:
    _, found, switches = read_optional(f"{folder}/status").partition(b"\nvoluntary_ctxt_switches:")
    return f"{folder} {switches!r}" if found else None
