"""Whether a collector that reads every second keeps an idle GPU from its low power."""

import time
from typing import Any

import pynvml

from .collector import running_collector
from .nvml import answer, open_gpu
from .options import Options
from .power import energy_joules
from .record import Recorder, Skipped

SECONDS = 6.0
MORE_WATTS, MORE_SHARE = 5.0, 0.1
"""What a collector may add to the power of an idle GPU, whichever is more."""


def compare_power(record: Recorder, options: Options) -> None:
    """Mean power by the energy counter, with NVML closed, then with the collector running."""
    seconds = options.seconds(SECONDS)
    left_alone = _mean_watts(record, options, seconds, "alone")
    with running_collector(record):
        watched = _mean_watts(record, options, seconds, "watched")
    if left_alone is None or watched is None:
        raise Skipped("this GPU has no energy counter")
    most = left_alone + max(MORE_WATTS, left_alone * MORE_SHARE)
    good = watched <= most
    record.check("idle power with the collector (W)", good, round(watched, 1), f"<= {most:.1f}")


def _mean_watts(record: Recorder, options: Options, seconds: float, when: str) -> float | None:
    """Over a time in which this process has NVML closed; the state is read at both ends."""
    before, begun = _state(record, options)
    time.sleep(seconds)
    after, ended = _state(record, options)
    joules = (before["joules"], after["joules"])
    watts = None if None in joules else (joules[1] - joules[0]) / (ended - begun)
    record.note(when, {"watts": watts, "before": before, "after": after})
    return watts


def _state(record: Recorder, options: Options) -> tuple[dict[str, Any], float]:
    with open_gpu(record, options.gpu) as handle:
        state = {
            "joules": energy_joules(handle),
            "sm_clock_mhz": answer(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            "memory_clock_mhz": answer(
                pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM
            ),
            "performance_state": answer(pynvml.nvmlDeviceGetPerformanceState, handle),
        }
        return state, time.monotonic()
