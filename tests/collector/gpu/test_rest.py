"""When GPUs that the kernel may put to sleep are left alone."""

from pathlib import Path

import pytest

from gpu_monitor.collector.gpu.pci import POWER_CONTROL_SECONDS, nvml_bus_id
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, Use
from gpu_monitor.collector.gpu.rest import (
    FALL_ASLEEP_SECONDS,
    LONGEST_WAIT_SECONDS,
    REST_AFTER_SECONDS,
    Rest,
)

ADDRESSES = ("0000:1b:00.0", "0000:3b:00.0")
PLACES = [nvml_bus_id(address) for address in ADDRESSES]


class Bench:
    """Two GPUs with their files, and what decides about their rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for address in ADDRESSES:
            self.put(address)
            (folder / "gpus" / address).mkdir(parents=True)
        self.rest = Rest(str(folder), str(folder / "gpus"))

    def put(self, address: str, status: str = "active", control: str = "auto") -> None:
        power = self.folder / address / "power"
        power.mkdir(parents=True, exist_ok=True)
        (power / "control").write_text(f"{control}\n")
        (power / "runtime_status").write_text(f"{status}\n")

    def state_d3(self, words: str) -> None:
        text = f"Runtime D3 status:          {words}\nVideo Memory:               Active\n"
        (self.folder / "gpus" / ADDRESSES[0] / "power").write_text(text)

    def due_at(self, *gpus: GpuReading, start: int = 0, until: int = 10_000) -> int | None:
        """The second in which it is time, with GPUs that stay as they are."""
        seconds = range(start, until)
        return next((at for at in seconds if self.rest.is_due(gpus, float(at))), None)

    def begun(self, now: float) -> Rest:
        assert self.due_at(*IDLE, start=int(now) - int(REST_AFTER_SECONDS)) == now
        self.rest.begin(now)
        return self.rest


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def idle(number: int) -> GpuReading:
    return GpuReading(Identity(number, pci_bus_id=PLACES[number]), utilization_percent=0)


IDLE = (idle(0), idle(1))
ASLEEP = GpuReading(Identity(0, pci_bus_id=PLACES[0]), "asleep")


def test_gpus_are_left_alone_after_a_minute_without_work(bench: Bench) -> None:
    assert bench.due_at(*IDLE) == REST_AFTER_SECONDS


def test_one_that_sleeps_already_does_not_keep_the_others_from_it(bench: Bench) -> None:
    assert bench.due_at(ASLEEP, idle(1)) == REST_AFTER_SECONDS


@pytest.mark.parametrize(
    "other",
    [
        idle(1)._replace(utilization_percent=1),
        idle(1)._replace(utilization_percent=None),
        idle(1)._replace(uses=(Use(7, "G"),)),
        idle(1)._replace(uses_unread="no permission"),
        idle(1)._replace(slices=(GpuReading(Identity(0), uses=(Use(7, "C"),)),)),
        idle(1)._replace(state="lost"),
        idle(1)._replace(state="error"),
        idle(1)._replace(identity=Identity(1)),
    ],
)
def test_a_gpu_in_use_or_not_known_to_be_idle_keeps_all_of_them_open(
    bench: Bench, other: GpuReading
) -> None:
    assert bench.due_at(idle(0), other) is None


def test_work_begins_the_minute_anew(bench: Bench) -> None:
    bench.due_at(*IDLE, until=59)
    bench.rest.is_due((idle(0), idle(1)._replace(utilization_percent=5)), 59.0)

    assert bench.due_at(*IDLE, start=60) == 60 + REST_AFTER_SECONDS


def test_a_host_without_gpus_has_none_to_leave_alone(bench: Bench) -> None:
    assert bench.due_at() is None


def test_gpus_that_may_not_sleep_are_read_on(bench: Bench) -> None:
    bench.put(ADDRESSES[1], control="on")

    assert bench.due_at(*IDLE) is None


@pytest.mark.parametrize(
    ("words", "due"),
    [
        ("Enabled (fine-grained)", 60),
        ("Enabled (coarse-grained)", 60),
        ("Disabled by default", None),
        ("Not supported", None),
        ("?", None),
    ],
)
def test_the_driver_may_say_that_a_gpu_never_sleeps(
    bench: Bench, words: str, due: int | None
) -> None:
    bench.state_d3(words)

    assert bench.due_at(*IDLE) == due


def test_nothing_is_left_alone_before_it_has_begun(bench: Bench) -> None:
    assert not bench.rest.goes_on(PLACES, 0.0)


def test_it_goes_on_while_they_fall_asleep_and_sleep(bench: Bench) -> None:
    rest = bench.begun(60.0)
    first = rest.goes_on(PLACES, 61.0)
    bench.put(ADDRESSES[0], "suspended")
    second = rest.goes_on(PLACES, 70.0)
    bench.put(ADDRESSES[1], "suspending")

    assert first and second
    assert all(rest.goes_on(PLACES, 80.0 + hour * 3600) for hour in range(5))


def test_it_ends_when_one_is_woken(bench: Bench) -> None:
    rest = bench.begun(60.0)
    bench.put(ADDRESSES[0], "suspended")
    rest.goes_on(PLACES, 61.0)
    bench.put(ADDRESSES[0], "active")

    assert not rest.goes_on(PLACES, 62.0)
    assert bench.due_at(*IDLE, start=63) == 63 + REST_AFTER_SECONDS


def test_it_ends_when_one_may_no_longer_sleep(bench: Bench) -> None:
    rest = bench.begun(60.0)
    bench.put(ADDRESSES[1], control="on")

    assert not rest.goes_on(PLACES, 60.0 + POWER_CONTROL_SECONDS)


def test_gpus_that_something_else_keeps_awake_are_left_alone_less_and_less_often(
    bench: Bench,
) -> None:
    waits, now = [], 0
    for _ in range(8):
        due = bench.due_at(*IDLE, start=now, until=now + 5000)
        assert due is not None
        waits.append(due - now)
        bench.rest.begin(float(due))
        assert bench.rest.goes_on(PLACES, due + FALL_ASLEEP_SECONDS - 1)
        now = due + int(FALL_ASLEEP_SECONDS)
        assert not bench.rest.goes_on(PLACES, float(now))

    assert waits == [60, 120, 240, 480, 960, 1920, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]


def test_gpus_that_slept_are_left_alone_after_a_minute_again(bench: Bench) -> None:
    rest = bench.begun(60.0)
    assert not rest.goes_on(PLACES, 60.0 + FALL_ASLEEP_SECONDS)
    assert bench.due_at(*IDLE, start=100) == 100 + 2 * REST_AFTER_SECONDS
    rest.begin(220.0)
    for address in ADDRESSES:
        bench.put(address, "suspended")
    assert rest.goes_on(PLACES, 221.0)
    bench.put(ADDRESSES[0], "active")
    assert not rest.goes_on(PLACES, 222.0)

    assert bench.due_at(*IDLE, start=300) == 300 + REST_AFTER_SECONDS
