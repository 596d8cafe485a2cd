"""A program that opens one GPU in an NVML session of its own: exit code 0 if the GPU answers.

It needs nothing but the standard library, so that it is small and quick, and runs by its path. A
call into a dead GPU may hang where no exception reaches it: an alarm ends the program, and the
kernel does when the process that started it ends.

    python -I -S probe_program.py PARENT SECONDS TARGET TAKEN LIBRARY...

TARGET is a bus id like `00000000:3B:00.0`, or an index of NVML where no bus id is known. A GPU at
an index counts only where no bus id among TAKEN, separated by commas, is its own: an index may
mean another GPU in another session. LIBRARY are the files to try, in that order.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

ANSWERS, NO_ANSWER, NO_LIBRARY, ORPHANED = range(4)
"""Exit codes. The interpreter's own for an exception is that of NO_ANSWER."""
_SUCCESS = 0
_DEAD = frozenset({1, 9, 12, 15, 16, 18, 28})
"""NVML's codes about the whole GPU or driver, whichever function was called."""
_UNSUPPORTED = frozenset({3, 13, 22, 24, 25, 26})
"""Its codes for a query that the GPU or the driver does not know."""
_READINGS = (
    ("nvmlDeviceGetUtilizationRates", ()),
    ("nvmlDeviceGetTemperature", (0,)),
    ("nvmlDeviceGetMemoryInfo", ()),
    ("nvmlDeviceGetPowerUsage", ()),
)
_PCI_INFO = "nvmlDeviceGetPciInfo_v3"
_BUS_ID = slice(36, 68)
"""Where nvmlPciInfo_t has the bus id."""
_LARGEST_ANSWER_BYTES = 256
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def limit_life(parent: int, seconds: int) -> None:
    """End with the parent, and after `seconds` at the latest; leave no core file.

    The first to go where memory runs out. The alarm works although the calling process may have
    blocked or ignored its signal.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(ORPHANED)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def load(libraries: list[str]) -> ctypes.CDLL:
    """The first of these files that is a library; exits where there is none."""
    for path in libraries:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(path)
    sys.exit(NO_LIBRARY)


def is_open(nvml: ctypes.CDLL, target: str, taken: list[str]) -> bool:
    """Whether this session can open the GPU, and the GPU answers."""
    device = ctypes.c_void_p()
    if nvml.nvmlInit_v2() != _SUCCESS:
        return False
    if target.isdigit():
        code = nvml.nvmlDeviceGetHandleByIndex_v2(int(target), ctypes.byref(device))
        return code == _SUCCESS and bus_id(nvml, device) not in taken and answers(nvml, device)
    code = nvml.nvmlDeviceGetHandleByPciBusId_v2(target.encode(), ctypes.byref(device))
    return code == _SUCCESS and answers(nvml, device)


def bus_id(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> str:
    """Empty where the driver does not say."""
    answer = ctypes.create_string_buffer(_LARGEST_ANSWER_BYTES)
    if getattr(nvml, _PCI_INFO)(device, answer) != _SUCCESS:
        return ""
    return answer.raw[_BUS_ID].partition(b"\0")[0].decode("ascii", "replace").upper()


def answers(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> bool:
    """Whether it can be read, as a collector judges it: one of the readings that it supports."""
    answer = ctypes.create_string_buffer(_LARGEST_ANSWER_BYTES)
    codes = {getattr(nvml, name)(device, *more, answer) for name, more in _READINGS}
    return codes.isdisjoint(_DEAD) and (_SUCCESS in codes or codes <= _UNSUPPORTED)


def main(arguments: list[str]) -> int:
    parent, seconds, target, taken, *libraries = arguments
    limit_life(int(parent), int(seconds))
    return ANSWERS if is_open(load(libraries), target, taken.split(",")) else NO_ANSWER


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # without closing NVML: that may hang as well
