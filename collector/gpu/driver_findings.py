"""What is wrong with the driver and its GPUs, each fault once; pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.nvml_errors import LOST
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading
from gpu_monitor.collector.gpu.slots import Slot
from gpu_monitor.collector.wire_fit import listed

FELL_OFF_THE_BUS_KEY = "79"
"""The key of the Xid with which the driver reports that a GPU is lost."""
_SILENCE_ADVICE = (
    "restart the container if it lost the device files (systemctl daemon-reload can do that), else"
    " search the kernel log for NVRM and Xid; NVML is opened again every few minutes"
)
NOT_READ_YET = "not read yet"
"""Why a GPU has no reading just after it was found; that is no fault."""


class StuckCall(NamedTuple):
    """A call of NVML that does not return, in words; `slot` is its GPU, None for the driver."""

    slot: Slot | None
    text: str


class _Fault(NamedTuple):
    """A finding, the GPUs it is about, and the text that a GPU gives as its reason for it."""

    slots: tuple[Slot, ...]
    finding: Finding
    reason: str


def driver_reading(
    driver: Driver,
    readings: Sequence[tuple[Slot, GpuReading]],
    stuck: Sequence[StuckCall],
    outdated: Sequence[Slot],
    now: float,
) -> DriverReading:
    """The readings with their findings; `now` in monotonic seconds.

    `outdated` are the GPUs that show a reading from before NVML was closed.

    A fault of one GPU is that GPU's, a fault of several is the driver's. A GPU that is not read
    because of a fault that is already reported has no finding of its own.
    """
    faults = [
        *_driver_faults(driver, stuck),
        *_interruptions(driver, outdated),
        *_faults_by_gpu(readings),
    ]
    reported = {fault.reason for fault in faults}
    if _is_silent(driver):
        reported |= {reading.reason or "" for _, reading in readings}
    gpus = []
    for slot, reading in readings:
        findings = [
            *(fault.finding for fault in faults if fault.slots == (slot,)),
            *_state_findings(reading, reported),
            *_health_findings(slot, reading, now),
            *(slot.link_findings if reading.state == "ok" else ()),
        ]
        gpus.append(reading._replace(findings=tuple(findings)) if findings else reading)
    return DriverReading(
        gpus=tuple(gpus),
        findings=tuple(fault.finding for fault in faults if len(fault.slots) != 1),
        driver_version=driver.driver_version,
        cuda_version=driver.cuda_version,
    )


def _driver_faults(driver: Driver, stuck: Sequence[StuckCall]) -> Iterator[_Fault]:
    if driver.finding is not None:
        yield _Fault((), driver.finding, driver.finding.line)
    else:
        for finding in driver.bus.findings:
            yield _Fault((), finding, finding.line)
    for slot, text in stuck:
        finding = Finding("nvml_stuck", "critical", text)
        yield _Fault(() if slot is None else (slot,), finding, text)


def _interruptions(driver: Driver, outdated: Sequence[Slot]) -> Iterator[_Fault]:
    """Why GPUs are not read that NVML has to be opened again for."""
    if _is_silent(driver):
        words = "no GPU answers, and opening NVML again has not helped so far"
        finding = Finding("gpus_silent", "critical", words, _SILENCE_ADVICE)
        yield _Fault((), finding, finding.line)
    if driver.probe.problem is not None:
        finding = Finding("probe_failed", "warning", driver.probe.problem)
        yield _Fault((), finding, finding.line)
    if outdated:
        numbers = listed([slot.identity.number for slot in outdated])
        words = f"NVML is being opened again: until then, GPU {numbers} shows its last reading"
        yield _Fault((), Finding("nvml_reopening", "info", words), words)


def _is_silent(driver: Driver) -> bool:
    """Whether the silence of all GPUs is the fault, rather than that all of them are lost."""
    codes = {slot.failure and slot.failure.code for slot in driver.slots}
    return driver.silence.is_reported and not codes <= LOST


def _faults_by_gpu(readings: Sequence[tuple[Slot, GpuReading]]) -> Iterator[_Fault]:
    """Each fault once, however many GPUs have it."""
    faulty: dict[str, list[Slot]] = {}
    unread: dict[str, list[Slot]] = {}
    for slot, reading in readings:
        for fault in slot.faults():
            faulty.setdefault(fault, []).append(slot)
        if (why := _why_uses_unread(reading)) is not None:
            unread.setdefault(why, []).append(slot)
    for fault, slots in faulty.items():
        words = f"{_these(slots)}cannot be read completely: {fault}"
        finding = Finding("internal_error", "warning", words, key=fault)
        yield _Fault(tuple(slots), finding, fault)
    for reason, slots in unread.items():
        words, _, advice = reason.partition(": ")
        words = f"{_these(slots)}processes cannot be read: {words}"
        finding = Finding("processes_unread", "warning", words, advice or None, key=reason)
        yield _Fault(tuple(slots), finding, words)


def _why_uses_unread(reading: GpuReading) -> str | None:
    """The first reason of the GPU and its slices: a slice needs files of its own to be read."""
    reasons = (each.uses_unread for each in (reading, *reading.slices))
    return next((reason for reason in reasons if reason is not None), None)


def _these(slots: Sequence[Slot]) -> str:
    """Names several GPUs; one alone is named by the row of its finding."""
    numbers = [slot.identity.number for slot in slots]
    return f"GPU {listed(numbers)}: " if len(numbers) > 1 else ""


def _health_findings(slot: Slot, reading: GpuReading, now: float) -> Iterator[Finding]:
    """That a GPU fell off the bus is not said twice of one that is lost."""
    for finding in slot.health_findings(now):
        is_loss = finding.kind == "gpu_lost" or finding.key == FELL_OFF_THE_BUS_KEY
        if not (reading.state == "lost" and is_loss):
            yield finding


def _state_findings(reading: GpuReading, reported: set[str]) -> Iterator[Finding]:
    reason = reading.reason or ""
    if reason in reported | {NOT_READ_YET}:
        return
    if reading.state == "lost":
        yield Finding.of_text("gpu_lost", "critical", reason)
    elif reading.state == "error":
        yield Finding.of_text("gpu_error", "critical", reason)
