"""What has become of a process that the driver still lists: told from /proc."""

import os

from gpu_monitor.collector.host.procfs import read_file, read_optional


def fields(stat: bytes) -> list[bytes]:
    """Fields of /proc/PID/stat from the third on, the state; the name in the second may hold
    spaces and brackets (proc(5))."""
    return stat[stat.rindex(b")") + 2 :].split(b" ", 20)


def is_hidden(pid: int) -> bool:
    """Whether a process bears `pid` that /proc does not show us (hidepid); else it has ended."""
    try:
        os.kill(pid, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def is_zombie(stat: bytes) -> bool:
    """Whether all of a process has ended and its parent has not taken note, by its `stat`."""
    told = fields(stat)
    return told[0] in b"ZX" and int(told[17]) <= 1


def uninterruptible(folder: str, stat: bytes) -> str | None:
    """Names the sleep no signal ends (D) that a process is in; None where it is in none.

    Two equal names are one sleep, as a thread that wakes up counts a switch. `folder` is the
    process's in /proc. It is the first thread's sleep; where that one has ended and others have
    not, as when a thread of a killed process hangs in the driver, it is one of theirs.
    """
    letter = fields(stat)[0]
    if letter == b"D":
        return _sleep(folder)
    if letter != b"Z":
        return None
    try:
        threads = [f"{folder}/task/{thread}" for thread in os.listdir(f"{folder}/task")]
        asleep = (each for each in threads if fields(read_file(f"{each}/stat"))[0] == b"D")
        return next(filter(None, map(_sleep, asleep)), None)
    except (OSError, ValueError, IndexError):  # it goes on ending
        return None


def _sleep(folder: str) -> str | None:
    _, found, switches = read_optional(f"{folder}/status").partition(b"\nvoluntary_ctxt_switches:")
    return f"{folder} {switches!r}" if found else None
