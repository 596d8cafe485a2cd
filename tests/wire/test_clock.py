"""wire.clock: the one place that reads the boot clock."""

import importlib
import re
import time

import pytest

from gpu_monitor.wire import clock
from tests.support.house import ROOT

ROOMS = ("collector", "broker", "web", "wire", "gpu_monitor")


def test_the_boot_clock_runs_with_the_kernel_s() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_system_without_a_boot_clock_uses_the_monotonic_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    try:
        importlib.reload(clock)
        before = time.monotonic()
        assert before <= clock.boottime() <= time.monotonic()
    finally:
        monkeypatch.undo()
        importlib.reload(clock)


def test_no_other_module_reads_the_boot_clock() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if re.search(r"time\.CLOCK_BOOTTIME|[\"']CLOCK_BOOTTIME", file.read_text())
    }
    assert readers == {"wire/clock.py"}
