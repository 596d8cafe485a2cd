"""`gpu-monitor check`: whether the collector can read the GPUs of this machine."""

import time
from collections.abc import Iterator

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.collector.gpu.nvml_errors import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, NvmlError
from gpu_monitor.collector.gpu.pci import PCI_FOLDER
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.commands.finding import Finding, warnings
from gpu_monitor.wire.slow_lookup import slow_lookup, wait_for

DRIVER_SECONDS = 10.0
"""How long the driver may take: without nvidia-persistenced it starts each GPU first."""
_STEP_SECONDS = 0.1
_NO_DRIVER = frozenset({LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED})
_STATE_WORDS = {"lost": "lost", "error": "not readable"}


def findings(patience_seconds: float, installation: DriverInstallation) -> Iterator[Finding]:
    """One finding if the driver cannot be opened, else one for all GPUs and one for each problem.

    The driver is given DRIVER_SECONDS, or `patience_seconds` if that is more.
    """
    patience = max(patience_seconds, DRIVER_SECONDS)
    lookup = slow_lookup(lambda: _why_no_driver(installation), thread_name="nvml")
    if not wait_for(lookup, patience):
        yield Finding(
            False,
            f"gpus: the NVIDIA driver hangs: no answer within {patience:.0f} s; search the kernel"
            " log for NVRM and Xid, a reboot may be needed",
        )
    elif (why := lookup.result()) is not None:
        yield why
    else:
        yield from _about_gpus(_reading(patience))


def here() -> DriverInstallation:
    """The driver's files on this machine."""
    return DriverInstallation(PCI_FOLDER)


def _why_no_driver(installation: DriverInstallation) -> Finding | None:
    """A missing driver is a failure only on a machine with an NVIDIA GPU."""
    trace = Trace()
    try:
        nvml.open_library(trace)
        nvml.device_count(trace)
        nvml.close_library(trace)
    except NvmlError as error:
        is_expected = installation.has_gpu() or installation.is_module_loaded()
        if error.code in _NO_DRIVER and not is_expected:
            return Finding(True, "gpus: no NVIDIA GPU in this machine; the page shows the rest")
        return Finding(False, f"gpus: {installation.describe(error)}")
    return None


def _reading(patience: float) -> DriverReading:
    """What the collector would read, once it has read every GPU or `patience` seconds are over."""
    driver = Driver()
    watchdog = Watchdog(driver, patience, patience)
    try:
        deadline = time.monotonic() + patience
        watchdog.collect(moment())
        while _is_incomplete(driver) and time.monotonic() < deadline:
            time.sleep(_STEP_SECONDS)
            watchdog.collect(moment())
        return watchdog.collect(moment())
    finally:
        watchdog.close()


def _is_incomplete(driver: Driver) -> bool:
    return any(slot.latest is None and slot.absent is None for slot in driver.slots)


def _about_gpus(reading: DriverReading) -> Iterator[Finding]:
    asleep = sum(gpu.state == "asleep" for gpu in reading.gpus)
    also = f", {asleep} of them asleep" if asleep else ""
    driver = reading.driver_version or "of unknown version"
    yield Finding(True, f"gpus: {len(reading.gpus)} found{also}, driver {driver}")
    for gpu in reading.gpus:
        if gpu.state in _STATE_WORDS:
            yield Finding(False, f"gpus: {_name(gpu)} is {_STATE_WORDS[gpu.state]}: {gpu.reason}")
    yield from warnings("gpus", reading.problems)


def _name(gpu: GpuReading) -> str:
    place = gpu.identity.pci_bus_id
    return f"GPU {gpu.identity.number}" + (f" ({place})" if place else "")
