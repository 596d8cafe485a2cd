"""The stages in their order: what each is called, how long it may take, where it is."""

from typing import NamedTuple


class Stage(NamedTuple):
    """`module.function` measures it. It may take `start` seconds for starting processes and such,
    at any pace, and `measuring` seconds at the usual pace."""

    start: float
    measuring: float
    module: str
    function: str
    words: str

    def limit(self, pace: float) -> float:
        """Seconds after which the stage is stopped."""
        return self.start + self.measuring * pace


STAGES = {
    "facts": Stage(8, 12, "facts", "collect_facts", "driver, device nodes, sysfs, nvidia-smi -q"),
    "calls": Stage(6, 12, "calls", "time_calls", "every NVML call, idle"),
    "calls_unprivileged": Stage(6, 12, "calls", "time_calls_unprivileged", "the same as uid 65534"),
    "canaries": Stage(
        25, 0, "canaries", "measure_writes", "how much the driver writes into structs"
    ),
    "open_close": Stage(
        20, 0, "open_close", "open_and_close", "opening and closing NVML five times"
    ),
    "load": Stage(50, 6, "load_stage", "follow_load", "a known load beside the collector"),
    "columns": Stage(30, 0, "columns", "compare_columns", "every column against nvidia-smi, idle"),
    "spin": Stage(40, 16, "spin", "follow_spin", "the stalled rule on a kernel that only spins"),
    "gpm": Stage(25, 4, "gpm", "measure_gpm", "the scale of GPM's utilization"),
    "energy": Stage(25, 12, "energy", "compare_energy", "energy counter against power"),
    "calls_busy": Stage(25, 12, "calls", "time_calls_busy", "every NVML call, under load"),
    "cost": Stage(35, 10, "cost", "measure_cost", "what the collector costs host and load"),
    "clocks": Stage(15, 12, "clocks", "compare_power", "whether polling keeps an idle GPU awake"),
    "xid": Stage(40, 16, "xid", "provoke_xids", "Xids 31 and 13; only with --provoke-xid"),
}
"""The most valuable first: a stage that hangs takes time from the last ones."""
TOTAL_SECONDS = 150.0
"""For all stages; one that does not fit any more is reported as not checked."""
