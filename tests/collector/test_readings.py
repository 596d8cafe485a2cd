"""Small rules between readings and columns: ranges, shares, clocks, sleep, limits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.clock import Moment, WallOffset
from gpu_monitor.collector.columns import GpuRow, ProcessRow, gpu_columns, process_columns
from gpu_monitor.collector.gpu import plausible
from gpu_monitor.collector.gpu.processes import Listed, joined
from gpu_monitor.collector.gpu.readings import GpuReading, Identity, Use
from gpu_monitor.collector.gpu.shares import STANDS_SECONDS, Shares
from gpu_monitor.collector.gpu.sleep import LOOK_SECONDS, Sleep, bus_id
from gpu_monitor.collector.host.own_cost import Cost
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.limits import largest, packed
from gpu_monitor.wire.codec import unpack_trusted
from gpu_monitor.wire.document import COLLECTOR_FIELDS, GPU_COLUMNS, PROCESS_COLUMNS, Snapshot
from gpu_monitor.wire.limits import MAX_WORDS
from tests.support.house import ROOT
from tests.support.snapshots import make_snapshot

GPU = GpuReading(Identity(0, "GPU-1"), power_watts=312.6, memory_used_bytes=(5 << 20) - 1)


def row(pid: int, memory_bytes: int | None) -> ProcessRow:
    return ProcessRow(0, Use(pid, "C", memory_bytes), ProcessFacts(pid))


def test_the_columns_are_those_of_the_document() -> None:
    assert list(gpu_columns([GpuRow(GPU)])) == list(GPU_COLUMNS)
    assert list(process_columns([row(1, None)])) == list(PROCESS_COLUMNS)


def test_values_are_rounded_once_to_whole_numbers() -> None:
    columns = gpu_columns([GpuRow(GPU)])

    assert columns["power_watts"] == [313]
    assert columns["memory_used_mib"] == [4]
    assert columns["utilization_percent"] == [None]


def test_what_a_gpu_is_known_to_ail_from_is_told_whatever_its_state() -> None:
    def told(**values: Any) -> Any:
        (health_reasons,) = gpu_columns([GpuRow(GPU._replace(**values))])["health_reasons"]
        return health_reasons

    assert told() == []
    assert told(health_reasons=("a row waits",)) == ["a row waits"]
    assert told(health_reasons=("a row waits",), state="lost") == ["a row waits"]
    assert told(state="lost") is told(state="asleep") is None
    assert told(health_reasons=("words",) * 40) == ["words"] * MAX_WORDS


def test_no_rows_are_empty_columns() -> None:
    assert set(map(tuple, gpu_columns([]).values())) == {()}


def test_what_can_be_is_kept_and_what_cannot_is_null() -> None:
    assert [plausible.percent(value) for value in (0, 100, 101, 2**32 - 1)] == [0, 100, None, None]
    assert [plausible.celsius(value) for value in (0, 200, 201)] == [0, 200, None]
    assert [plausible.watts(value) for value in (0, 312_400, 2**32 - 1)] == [0.0, 312.4, None]
    assert [plausible.mhz(value) for value in (0, 2619, 10**6)] == [0, 2619, None]


def test_memory_is_not_more_than_there_is() -> None:
    assert plausible.memory_bytes((100, 40)) == (100, 40)
    assert plausible.memory_bytes((100, 101)) == (100, None)
    assert plausible.memory_bytes((0, 0)) == (None, 0)
    assert plausible.memory_bytes((2**64 - 1, 2**64 - 1)) == (None, None)
    assert plausible.memory_bytes(None) == (None, None)


def test_an_idle_gpu_is_not_held_down() -> None:
    assert plausible.throttle(0x1) == ()
    assert plausible.throttle(0x1 | 0x4) == ("power limit",)
    assert plausible.throttle(None) is None


@pytest.mark.processes
def test_the_page_takes_for_hot_what_the_gpu_does_against_heat() -> None:
    words = [plausible.throttle(bit) for bit in (0x20, 0x40, 0x4)]
    script = f"""
        import {{ isHot }} from "./app/rows.js";
        const gpus = {{ throttle: {json.dumps(words)} }};
        console.log(gpus.throttle.map((_, row) => isHot(gpus, row)).join());
    """
    done = subprocess.run(
        [Path(sys.executable).parent / "node", "--input-type=module", "-e", script],
        cwd=ROOT / "frontend",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "true,true,false"


def test_the_first_answer_tells_the_past_only() -> None:
    shares = Shares()
    shares.take([(7, 1000, 90), (7, 500, 10)], 0.0)
    first = shares.percent(7)
    shares.take([], 1.0)

    assert (first, shares.percent(7), shares.since) == (None, 0, 1000)


def test_a_sample_stands_for_a_moment_and_the_newest_counts() -> None:
    shares = Shares()
    shares.take([], 0.0)
    shares.take([(7, 2000, 60), (7, 1000, 20), (8, 2000, 101)], 1.0)
    now = shares.percent(7)
    shares.take([], 1.0 + STANDS_SECONDS)
    still = shares.percent(7)
    shares.take([], 1.5 + STANDS_SECONDS)

    assert (now, still, shares.percent(7), shares.percent(8)) == (60, 60, 0, 0)


def test_entries_of_one_process_are_one_use() -> None:
    entries = [
        Listed(7, "C", None, None),
        Listed(7, "G", 20, None),
        Listed(7, "C", 10, None),
        Listed(8, "G", None, None),
    ]

    assert joined(entries) == (Use(7, "C+G", 20), Use(8, "G", None))


def test_a_moment_is_the_same_second_however_the_clocks_wobble() -> None:
    offset = WallOffset()
    seen = set()
    for wobble in (0.0, 0.2, -0.2, 0.4):
        offset.follow(Moment(0.0, 1000.0, 2000.0 + wobble))
        seen.add(offset.unix(500.999))

    assert seen == {1500}


def test_a_step_of_the_wall_clock_moves_every_time() -> None:
    offset = WallOffset()
    offset.follow(Moment(0.0, 1000.0, 2000.0))
    offset.follow(Moment(1.0, 1001.0, 5001.0))

    assert offset.unix(500.0) == 4500
    assert offset.unix(None) is None


def test_only_a_device_that_may_sleep_is_looked_at(tmp_path: Path) -> None:
    power = tmp_path / "0000:3b:00.0" / "power"
    power.mkdir(parents=True)
    (power / "control").write_text("on\n")
    (power / "runtime_status").write_text("suspended\n")
    sleep = Sleep("00000000:3B:00.0", str(tmp_path))
    awake = sleep.now(0.0)
    (power / "control").write_text("auto\n")

    assert [awake, sleep.now(1.0), sleep.now(LOOK_SECONDS)] == [False, False, True]


@pytest.mark.parametrize(
    ("address", "named"),
    [("0000:3b:00.0", "00000000:3B:00.0"), ("10000:e1:00.0", "00010000:E1:00.0")],
)
def test_a_place_on_the_bus_has_one_name_of_nvmls_and_one_of_the_kernels(
    tmp_path: Path, address: str, named: str
) -> None:
    power = tmp_path / address / "power"
    power.mkdir(parents=True)
    (power / "control").write_text("auto\n")
    (power / "runtime_status").write_text("suspending\n")

    assert bus_id(address) == named
    assert Sleep(named, str(tmp_path)).now(0.0)


def test_a_device_that_is_not_on_the_bus_is_awake(tmp_path: Path) -> None:
    assert not Sleep("00000000:3B:00.0", str(tmp_path)).now(0.0)
    assert not Sleep(None, str(tmp_path)).now(0.0)


def test_own_cost_is_in_the_documents_fields() -> None:
    cost = Cost()
    first, second = cost.read(0.0, 0.00123), cost.read(1.0, 0.00123)

    assert first.keys() == COLLECTOR_FIELDS.keys() - {"cpu_percent"}
    assert second.keys() == COLLECTOR_FIELDS.keys()
    assert second["sample_seconds"] == 0.0012 and second["memory_mib"] > 5


def test_the_processes_with_the_most_memory_are_kept_in_their_order() -> None:
    rows = [row(1, 10), row(2, None), row(3, 30), row(4, 20)]

    assert [each.use.pid for each in largest(rows, 2)] == [3, 4]
    assert largest(rows, 4) == rows


def crowd(count: int, command: str) -> Snapshot:
    rows = [
        ProcessRow(0, Use(pid, "C", pid << 20), ProcessFacts(pid, command=command))
        for pid in range(1, count + 1)
    ]
    snapshot: Snapshot = make_snapshot(processes=process_columns(rows))  # type: ignore[assignment] # a dict by its make
    return snapshot


def test_a_message_that_is_too_large_sheds_processes_and_says_so() -> None:
    data = packed(crowd(512, "x" * 4000))

    shed: Snapshot = unpack_trusted(data)  # type: ignore[assignment] # packed just above
    assert len(data) <= 1 << 20
    assert shed["processes"]["pid"] == list(range(257, 513))
    assert shed["problems"] == ["message too large: 256 of 512 processes shown"]


@given(st.integers(0, 60), st.integers(500, 6000))
def test_no_message_is_larger_than_its_limit(count: int, limit: int) -> None:
    snapshot = crowd(count, "python train.py " * 8)
    smallest = len(packed(crowd(0, "")))

    assert len(packed(snapshot, limit)) <= max(limit, smallest + 100)
