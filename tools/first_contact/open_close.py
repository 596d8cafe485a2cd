"""Opening and closing NVML again and again: how long it takes, and what it leaves behind."""

import mmap
import os
import time
from pathlib import Path
from typing import Any

import pynvml

from .nvml import open_gpu
from .options import Options
from .record import Recorder

ROUNDS = 5
GROWTH_MIB = 4.0
"""More memory than this from the second round to the last is a leak."""


def open_and_close(record: Recorder, options: Options) -> None:
    """Five rounds of init, handle, name and shutdown."""
    rounds = []
    for number in range(ROUNDS):
        record.begin(f"round {number + 1}")
        rounds.append(_one_round(record, options))
        record.add("rounds", rounds[-1])
    grown = rounds[-1]["memory_mib"] - rounds[1]["memory_mib"]
    more = rounds[-1]["descriptors"] - rounds[1]["descriptors"]
    record.check("memory stays (MiB)", grown <= GROWTH_MIB, grown, f"<= {GROWTH_MIB}")
    record.check("descriptors stay", more <= 0, more, 0)


def _one_round(record: Recorder, options: Options) -> dict[str, Any]:
    begun = time.monotonic()
    with open_gpu(record, options.gpu) as handle:
        opened = time.monotonic()
        pynvml.nvmlDeviceGetName(handle)
        named = time.monotonic()
    closed = time.monotonic()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "open_ms": round(1000 * (opened - begun), 2),
        "name_ms": round(1000 * (named - opened), 2),
        "close_ms": round(1000 * (closed - named), 2),
        "memory_mib": round(pages * mmap.PAGESIZE / 2**20, 1),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
