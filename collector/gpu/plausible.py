"""Which of the driver's values can be true: one that cannot, like 2^64-1 percent, is None; pure."""

_MAX_GPU_MEMORY_BYTES = 1 << 50
_MAX_ERRORS = 10**9
_MAX_MILLIJOULES = 10**16
"""20 kW for fifteen years."""
_LOWEST_SLOWDOWN_CELSIUS = 40
"""A chip is warmer than that when it idles in a warm room: 0 stands for a threshold not known."""
_TRACE_PERCENT = 0.1
"""5 ms of the 5 s between two measurements: as much work as half a percent of one second."""
_THROTTLE = {
    0x2: "application clocks",
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
"""NVML's bits for what limits the clocks; 0x1, the GPU is idle, is none of them.

Only 0x8, 0x20, 0x40 and 0x80 are a fault: the page shows the words with "slowdown" or "power brake"
as such. Under full load most data center GPUs are at their power limit.
"""


def within(value: int | None, highest: int) -> int | None:
    """`value` if it is between 0 and `highest`, else None."""
    return value if value is not None and 0 <= value <= highest else None


def percent(value: int | None, highest: int = 100) -> int | None:
    """A share in percent; a fan's may exceed 100."""
    return within(value, highest)


def busy(value: float | None) -> int | None:
    """A measured share of time in whole percent; NaN is None.

    A trace of work is rounded up to 1 %, because 0 means that nothing ran.
    """
    if value is None or not 0 <= value <= 100.5:
        return None
    return round(value) or int(value >= _TRACE_PERCENT)


def celsius(value: int | None) -> int | None:
    """A chip's temperature, 200 at most."""
    return within(value, 200)


def slowdown(value: int | None) -> int | None:
    """The temperature at which a chip is slowed down; 0 and 255 mean that none is known."""
    threshold = celsius(value)
    return None if threshold is None or threshold < _LOWEST_SLOWDOWN_CELSIUS else threshold


def errors(count: int | None) -> int | None:
    """A count of memory errors; 2^32-1 and the like mean that none is known."""
    return within(count, _MAX_ERRORS)


def watts(milliwatts: int | None) -> float | None:
    """Watts from NVML's milliwatts; no GPU draws more than 20 kW."""
    value = within(milliwatts, 20_000_000)
    return None if value is None else value / 1000


def limit_watts(milliwatts: int | None) -> float | None:
    """A limit in watts; 0 means that none is known."""
    return watts(milliwatts) or None


def joules(millijoules: int | None) -> int | None:
    """Whole joules, rounded down, from NVML's millijoules."""
    value = within(millijoules, _MAX_MILLIJOULES)
    return None if value is None else value // 1000


def pcie(value: int | None) -> int | None:
    """A PCIe link's generation or number of lanes; 0 means that none is known."""
    return within(value, 32) or None


def mhz(value: int | None) -> int | None:
    """A clock's frequency, 100 GHz at most."""
    return within(value, 100_000)


def memory_bytes(info: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """Total and used bytes: a total of 0 is not known, nor is a use beyond the total."""
    if info is None:
        return None, None
    total = within(info[0], _MAX_GPU_MEMORY_BYTES) or None
    return total, within(info[1], _MAX_GPU_MEMORY_BYTES if total is None else total)


def process_bytes(size: int | None, total: int | None) -> int | None:
    """What one process holds of a GPU's memory, at most all of it where `total` is known."""
    return within(size, _MAX_GPU_MEMORY_BYTES if total is None else total)


def throttle(bits: int | None) -> tuple[str, ...] | None:
    """What limits the clocks, in words; () if they run freely, None where not known."""
    if bits is None or bits >= 1 << 32:
        return None
    return tuple(words for bit, words in _THROTTLE.items() if bits & bit)
