"""The findings of a snapshot: their order, their times, and what they say."""

from collections.abc import Iterable
from typing import Any

import pytest

from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.columns import MAX_GPUS, MAX_PROCESSES, packed
from gpu_monitor.collector.findings import MAX_FINDINGS, Finding
from gpu_monitor.collector.gpu.readings import Use
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.snapshot import SnapshotBuilder, Sources
from gpu_monitor.wire.codec import unpack
from tests.support.finding_lines import snapshot_lines
from tests.support.snapshot_builder import (
    BOOTED_AT,
    ORIGIN,
    ManualClock,
    builder,
    cost,
    host,
    known_facts,
    ok,
    showing,
)
from tests.support.snapshots import read_snapshot


def test_the_worst_findings_come_first_then_the_hosts_then_those_of_each_gpu() -> None:
    waits = Finding("row_remap", "warning", "a row waits")
    gpus = showing(
        ok(0, findings=(waits,)),
        ok(1, findings=(Finding("gpu_error", "critical", "no reading"),)),
        findings=(Finding("driver", "info", "no driver here"),),
    )
    sources = Sources(ManualClock(), gpus, known_facts, host, cost)
    lasting = (Finding("no_pids", "warning", "in a container"),)

    snapshot = SnapshotBuilder(ORIGIN, sources, IdleTimes(), lasting).build()

    assert snapshot_lines(snapshot) == [
        "GPU 1: no reading",
        "in a container",
        "GPU 0: a row waits",
        "no driver here",
    ]


def test_a_finding_keeps_its_time_while_its_words_and_its_row_change() -> None:
    clock = ManualClock()
    picture = showing(ok(1, findings=(Finding("xid", "warning", "once", key="48"),)))
    samples = builder(clock, lambda now: picture(now))
    first = samples.build()["findings"]
    clock.now += 10
    again = Finding("xid", "warning", "2 times", key="48")
    picture = showing(ok(0), ok(1, findings=(again, Finding("xid", "warning", "new", key="74"))))
    second = samples.build()["findings"]

    assert (first["gpu"], first["since"]) == ([0], [BOOTED_AT + 1000])
    assert (second["gpu"], second["since"]) == ([1, 1], [BOOTED_AT + 1000, BOOTED_AT + 1010])


def test_a_gpu_is_hot_until_half_a_minute_after_it_was() -> None:
    clock = ManualClock()
    cool = ok(temperature_celsius=50)
    heat = ok(temperature_celsius=85)
    cool, heat = (
        gpu._replace(identity=gpu.identity._replace(slowdown_celsius=90)) for gpu in (cool, heat)
    )
    picture = showing(cool)
    samples = builder(clock, lambda now: picture(now))
    kinds = [samples.build()["findings"]["kind"]]
    for gpu, seconds in ((heat, 1), (cool, 29), (cool, 2)):
        picture = showing(gpu)
        clock.now += seconds
        kinds.append(samples.build()["findings"]["kind"])

    assert kinds == [[], ["gpu_hot"], ["gpu_hot"], []]


def test_a_gpu_slowed_down_by_heat_is_hot_whatever_its_temperature() -> None:
    gpu = ok(throttle=("software thermal slowdown",))
    assert builder(ManualClock(), showing(gpu)).build()["findings"]["kind"] == ["gpu_hot"]


def test_a_stalled_gpu_is_found_with_the_time_at_which_it_stalled() -> None:
    clock = ManualClock()
    busy = ok(
        utilization_percent=100,
        memory_controller_utilization_percent=0,
        power_watts=70.0,
        power_limit_watts=700.0,
    )
    samples = builder(clock, showing(busy))
    samples.build()
    clock.now += 600

    found = samples.build()["findings"]

    assert (found["kind"], found["since"]) == (["gpu_stalled"], [BOOTED_AT + 1000])


def test_more_findings_than_the_wire_carries_are_cut_and_counted() -> None:
    many = tuple(Finding("xid", "warning", str(code), key=str(code)) for code in range(300))
    worst = Finding("gpu_lost", "critical", "lost")
    gpus = showing(ok(0, findings=many), ok(1, findings=(worst,)))

    found = read_snapshot(packed(builder(ManualClock(), gpus).build()))["findings"]

    assert len(found["kind"]) == MAX_FINDINGS and found["words"][0] == "lost"
    assert found["words"][-1] == f"{MAX_FINDINGS - 1} of 301 findings shown"


def test_a_finding_about_a_gpu_without_a_row_is_the_hosts() -> None:
    gpus = [ok(index) for index in range(MAX_GPUS)]
    lost = ok(MAX_GPUS, findings=(Finding("gpu_lost", "critical", "lost"),))

    snapshot = read_snapshot(packed(builder(ManualClock(), showing(*gpus, lost)).build()))

    assert snapshot_lines(snapshot) == [
        f"{MAX_GPUS} of {MAX_GPUS + 1} GPUs and slices shown",
    ]


def test_findings_name_no_user_and_no_command() -> None:
    """Viewers who may not see commands still see the findings."""
    crowd = [Use(4242, "C", None)] * (MAX_PROCESSES + 1)
    gpus = [ok(index, uses=tuple(crowd)) for index in range(MAX_GPUS + 1)]
    snapshot = builder(ManualClock(), showing(*gpus)).build()
    words = " ".join(unpack(packed(snapshot, 20_000))["findings"]["words"])  # type: ignore[index]  # a map
    assert "GPUs and slices shown" in words and "message too large" in words
    for secret in ("alice", "1000", "4242", "train.py", "3f4e"):
        assert secret not in words


@pytest.mark.parametrize("source", ["gpus", "facts", "host", "cost"])
def test_a_source_that_raises_is_reported_after_three_snapshots_and_stops_none(source: str) -> None:
    def broken(*arguments: object) -> Any:
        raise AttributeError("gone")

    use = Use(4242, "C")
    sources = Sources(ManualClock(), showing(ok(uses=(use,))), known_facts, host, cost)
    samples = SnapshotBuilder(ORIGIN, sources._replace(**{source: broken}), IdleTimes())

    snapshots = [read_snapshot(packed(samples.build())) for _ in range(3)]

    (line,) = snapshot_lines(snapshots[2])
    assert line.endswith(" cannot be read: AttributeError: gone")
    assert snapshot_lines(snapshots[1]) == []
    others = {"gpus": "uuid", "processes": "pid", "disks": "mount"}
    shown = {table: snapshots[2][table].get(column) for table, column in others.items()}  # type: ignore[literal-required] # names of tables
    assert shown["gpus"] == ([] if source == "gpus" else ["GPU-0"])
    assert shown["processes"] == ([] if source == "gpus" else [4242])
    assert shown["disks"] == ([] if source == "host" else ["/"])


def test_hundreds_of_ended_processes_are_one_finding_that_fits_the_wire() -> None:
    uses = tuple(Use(4_000_000 + number, "C", 1 << 30) for number in range(445))

    def all_ended(pids: Iterable[int], now: float) -> dict[int, ProcessFacts]:
        return {pid: ProcessFacts(pid, state="ended") for pid in pids}

    sources = Sources(ManualClock(), showing(ok(uses=uses)), all_ended, host, cost)
    built = SnapshotBuilder(ORIGIN, sources, IdleTimes()).build()

    (line,) = snapshot_lines(read_snapshot(packed(built)))
    assert "4000007, … and 437 more)" in line and len(line) < 300
