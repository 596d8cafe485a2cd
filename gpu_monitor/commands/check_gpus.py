"""`gpu-monitor check`: whether the collector can read the GPUs of this machine."""

import time
from collections.abc import Iterator

from gpu_monitor.collector.clock import moment
from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu import nvml
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.installation import DriverInstallation
from gpu_monitor.collector.gpu.nvml_errors import NvmlError
from gpu_monitor.collector.gpu.pci import PCI_FOLDER
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.commands.report_line import ReportLine
from gpu_monitor.wire.slow_lookup import slow_lookup, wait_for

DRIVER_SECONDS = 10.0
"""How long the driver may take: without nvidia-persistenced it starts each GPU first."""
_STEP_SECONDS = 0.1


def report_lines(patience_seconds: float, installation: DriverInstallation) -> Iterator[ReportLine]:
    """One line if the driver cannot be opened, else one for all GPUs and one for each finding.

    The driver is given DRIVER_SECONDS, or `patience_seconds` if that is more.
    """
    patience = max(patience_seconds, DRIVER_SECONDS)
    lookup = slow_lookup(lambda: _why_no_driver(installation), thread_name="nvml")
    if not wait_for(lookup, patience):
        yield ReportLine(
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


def _why_no_driver(installation: DriverInstallation) -> ReportLine | None:
    """A missing driver is a failure only on a machine with an NVIDIA GPU."""
    trace = Trace()
    try:
        nvml.open_library(trace)
        nvml.device_count(trace)
        nvml.close_library(trace)
    except NvmlError as error:
        found = installation.describe(error)
        if found.severity == "info":
            return ReportLine(True, "gpus: no NVIDIA GPU in this machine; the page shows the rest")
        return ReportLine(False, f"gpus: {found.line}")
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


def _about_gpus(reading: DriverReading) -> Iterator[ReportLine]:
    asleep = sum(gpu.state == "asleep" for gpu in reading.gpus)
    also = f", {asleep} of them asleep" if asleep else ""
    driver = reading.driver_version or "of unknown version"
    yield ReportLine(True, f"gpus: {len(reading.gpus)} found{also}, driver {driver}")
    for finding in reading.findings:
        yield _line("gpus", finding)
    for gpu in reading.gpus:
        for finding in gpu.findings:
            yield _line(f"gpus: {_name(gpu)}", finding)


def _line(subject: str, finding: Finding) -> ReportLine:
    is_failure = finding.severity == "critical"
    is_warning = finding.severity == "warning"
    return ReportLine(not is_failure, f"{subject}: {finding.line}", is_warning=is_warning)


def _name(gpu: GpuReading) -> str:
    place = gpu.identity.pci_bus_id
    return f"GPU {gpu.identity.number}" + (f" ({place})" if place else "")
