"""Xids that a program provokes: does NVML's event set report them?"""

import time
from typing import Any

import pynvml

from .load import running_load
from .nvml import code_of, open_gpu
from .options import Options
from .record import Recorder, Skipped, Unchecked

KERNELS = {"wild": 31, "misaligned": 13}
"""A store to nowhere is an MMU fault, one across a word an exception of the engine."""
WAIT_SECONDS = 8.0
LOAD_MIB = 16


def provoke_xids(record: Recorder, options: Options) -> None:
    """Each kernel in a process of its own, which the fault ends."""
    if not options.provoke_xid:
        raise Skipped("only with --provoke-xid")
    with open_gpu(record, options.gpu) as handle:
        events = pynvml.nvmlEventSetCreate()
        pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
        for kernel, expected in KERNELS.items():
            with running_load(record, options, kernel, LOAD_MIB) as load:
                record.note(f"{kernel} ended", load.wait(WAIT_SECONDS))
            record.begin(f"waiting for Xid {expected}")
            seen = _events(events, expected)
            record.check(f"the kernel {kernel} makes an Xid", expected in seen, seen, expected)
        pynvml.nvmlEventSetFree(events)


def _events(events: Any, awaited: int) -> list[int]:
    """The Xids until the awaited one, for some seconds at most."""
    found: list[int] = []
    until = time.monotonic() + WAIT_SECONDS
    while awaited not in found and (left := until - time.monotonic()) > 0:
        try:
            event = pynvml.nvmlEventSetWait_v2(events, int(1000 * left))
        except pynvml.NVMLError as error:
            if code_of(error) == pynvml.NVML_ERROR_TIMEOUT:
                break
            raise Unchecked(f"nvmlEventSetWait says {code_of(error)}: {error}") from None
        found.append(int(event.eventData))
    return found
