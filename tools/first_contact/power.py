"""Mean power over a time, from the card's energy counter and from its power readings."""

import time
from typing import Any

import pynvml

from .nvml import answer

SAMPLES_PER_SECOND = 20


def energy_joules(handle: Any) -> float | None:
    """The energy counter; None on a GPU that has none."""
    value = answer(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return None if value is None else value / 1000


def power_watts(handle: Any) -> float | None:
    """What the GPU draws now, or did on average over the last second: cards differ."""
    value = answer(pynvml.nvmlDeviceGetPowerUsage, handle)
    return None if value is None else value / 1000


def mean_power(handle: Any, seconds: float) -> tuple[float | None, float | None]:
    """Watts by the energy counter, and by the mean of power readings, over the same time."""
    begun, before = time.monotonic(), energy_joules(handle)
    readings = []
    while time.monotonic() - begun < seconds:
        readings.append(power_watts(handle))
        time.sleep(1 / SAMPLES_PER_SECOND)
    after, passed = energy_joules(handle), time.monotonic() - begun
    known = [reading for reading in readings if reading is not None]
    by_counter = None if before is None or after is None else (after - before) / passed
    return by_counter, sum(known) / len(known) if known else None
