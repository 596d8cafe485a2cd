"""Whether the energy counter counts what the power readings say."""

from .load import start_load_if_possible
from .nvml import open_gpu
from .options import Options
from .power import mean_power
from .record import Recorder, Skipped

SECONDS = 4.0
LOAD_MIB = 512
AGREEMENT = 0.2
"""Share that both may differ by: power is a mean over the last second on many cards."""


def compare_energy(record: Recorder, options: Options) -> None:
    """Idle, and under load where one can be started."""
    with open_gpu(record, options.gpu) as handle:
        _compare(record, "idle", *mean_power(handle, options.seconds(SECONDS)))
        with start_load_if_possible(record, options, "heavy", LOAD_MIB) as load:
            if load is not None:
                mean_power(handle, options.seconds(2))  # until the mean is of the load alone
                _compare(record, "under load", *mean_power(handle, options.seconds(SECONDS)))


def _compare(record: Recorder, when: str, counted: float | None, read: float | None) -> None:
    record.note(when, {"counter_watts": counted, "power_watts": read})
    if counted is None or read is None:
        raise Skipped("this GPU has no energy counter or no power reading")
    low, high = read * (1 - AGREEMENT), read * (1 + AGREEMENT)
    agree = low <= counted <= high
    record.check(f"counter and power agree {when} (W)", agree, round(counted, 1), [low, high])
