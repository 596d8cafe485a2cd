"""Readings and clocks become a snapshot; a recorded machine gives the same bytes each time."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_monitor.broker.gpu_use import UseLimits, use_of
from gpu_monitor.broker.seats import seats
from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.columns import MAX_GPUS, MAX_PROCESSES, packed
from gpu_monitor.collector.findings import MAX_FINDINGS, Finding
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading, Identity, Use
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.snapshot import Origin, SnapshotBuilder, Sources
from gpu_monitor.wire.codec import unpack
from gpu_monitor.wire.document import Scalars, Snapshot, Table
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Gpu, Mig, Process, Scenario
from tests.support.finding_lines import snapshot_lines
from tests.support.snapshots import read_snapshot

GOLDEN = Path(__file__).parent.parent / "golden" / "snapshot.msgpack"
BOOTED_AT = 1_763_900_000
ORIGIN = Origin("node1", "boot", "run", 1.0)
DISKS: Table = {"mount": ["/"], "total_mib": [100], "used_mib": [40]}


class ManualClock:
    """Seconds since boot, set by hand; the wall clock follows."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> Moment:
        return Moment(self.now, self.now, BOOTED_AT + self.now)


def known_facts(pids: object, now: float) -> dict[int, ProcessFacts]:
    return {
        4242: ProcessFacts(4242, 50_000, 1000, "alice", "python train.py", "3f4e3f4e3f4e", None),
        4243: ProcessFacts(4243, 60_050, 1001, "bob", "python serve.py", None, "4711"),
        4244: ProcessFacts(4244, state="ended"),
    }


def host(now: float) -> tuple[Scalars, Table]:
    return {"hostname": "node1", "cpu_percent": 12}, DISKS


def cost(now: float, seconds: float) -> Scalars:
    return {"version": "0.0.0", "memory_mib": 25, "sample_seconds": round(seconds, 4)}


def builder(
    clock: ManualClock, gpus: Callable[[Moment], DriverReading], idle: IdleTimes | None = None
) -> SnapshotBuilder:
    return SnapshotBuilder(
        ORIGIN, Sources(clock, gpus, known_facts, host, cost), idle or IdleTimes()
    )


def showing(
    *gpus: GpuReading, findings: tuple[Finding, ...] = ()
) -> Callable[[Moment], DriverReading]:
    return lambda now: DriverReading(gpus=gpus, findings=findings)


def ok(index: int = 0, **values: object) -> GpuReading:
    return GpuReading(Identity(index, f"GPU-{index}"))._replace(**values)  # type: ignore[arg-type] # by name


def work(percent: int, carried: bool) -> GpuReading:
    return ok(utilization_percent=percent, carried=carried)


@pytest.fixture
def watch(fake_nvml: FakeNvml) -> Iterator[Watchdog]:
    watch = Watchdog(Driver(), patience=10.0, timeout=10.0, clock=lambda: 1000.0)
    yield watch
    watch.close()


RECORDED = Scenario(
    gpus=[
        Gpu(
            utilization_percent=87,
            memory_controller_utilization_percent=41,
            power_watts=612.4,
            temperature_celsius=66,
            throttle_reasons=4,
            remapped_pending=1,
            processes=[
                Process(4242, memory_mib=61440, sm_utilization_percent=80),
                Process(4244, None),
            ],
        ),
        Gpu(
            fan_percent=N_A,
            processes=[Process(4243, memory_mib=2048, sm_utilization_percent=0, type="C+G")],
        ),
        Gpu(lost=True),
        Gpu(migs=[Mig(profile="3g.40gb", processes=[Process(4242, 512)]), Mig(profile="1g.10gb")]),
    ]
)


def recorded(fake: FakeNvml, watch: Watchdog) -> Snapshot:
    """The second snapshot of the recorded machine, a second after the first."""
    fake.write(RECORDED)
    clock = ManualClock()
    samples = builder(clock, watch.collect)
    samples.build()
    clock.now += 1.0
    return samples.build()


def test_a_recorded_machine_gives_the_same_snapshot_byte_for_byte(
    fake_nvml: FakeNvml, watch: Watchdog
) -> None:
    data = packed(recorded(fake_nvml, watch))

    assert unpack(data) == unpack(GOLDEN.read_bytes())  # shows what differs
    assert data == GOLDEN.read_bytes()


def test_the_recorded_snapshot_passes_the_brokers_check(
    fake_nvml: FakeNvml, watch: Watchdog
) -> None:
    snapshot = read_snapshot(packed(recorded(fake_nvml, watch)))

    assert snapshot["gpus"]["parent"] == [None, None, None, None, 3, 3]
    assert snapshot["gpus"]["state"] == ["ok", "ok", "lost", "ok", "ok", "ok"]
    assert snapshot["gpus"]["health"] == ["degraded", "ok", "failed", "ok", None, None]
    waits = "a faulty memory row is waiting to be remapped"
    assert snapshot["gpus"]["health_reasons"] == [[waits], [], None, [], [], []]
    assert snapshot_lines(snapshot)[:2] == [
        "GPU 2: fell off the bus (GPU is lost): reset the GPU or reboot",
        f"GPU 0: {waits}: reset the GPU",
    ]
    assert snapshot["processes"]["gpu"] == [0, 0, 1, 4]
    assert snapshot["processes"]["pid"] == [4242, 4244, 4243, 4242]


def test_a_snapshot_identifies_its_sender_time_and_interval() -> None:
    clock = ManualClock()
    samples = builder(clock, showing())

    first, second = samples.build(), samples.build()

    assert (first["name"], first["boot_id"], first["run_id"]) == ("node1", "boot", "run")
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert first["sampled_boottime"] == 1000.0
    assert first["sampled_at"] == BOOTED_AT + 1000.0
    assert first["system"]["booted_at"] == BOOTED_AT


def test_a_snapshot_has_the_time_before_its_readings() -> None:
    clock = ManualClock()

    def slow(now: Moment) -> DriverReading:
        clock.now += 0.25
        return DriverReading()

    snapshot = builder(clock, slow).build()

    assert snapshot["sampled_boottime"] == 1000.0
    assert snapshot["collector"]["sample_seconds"] == 0.25


def test_start_times_are_unix_seconds() -> None:
    use = Use(4243, "C")

    snapshot = builder(ManualClock(), showing(ok(uses=(use,)))).build()

    assert snapshot["processes"]["started_at"] == [BOOTED_AT + 600]


def test_a_gpu_and_its_process_are_idle_since_their_first_zero() -> None:
    clock = ManualClock()
    use = Use(4242, "C", sm_utilization_percent=0)
    samples = builder(clock, showing(ok(utilization_percent=0, uses=(use,))))
    samples.build()
    clock.now += 60

    snapshot = samples.build()

    assert snapshot["gpus"]["idle_since"] == [BOOTED_AT + 1000]
    assert snapshot["processes"]["idle_since"] == [BOOTED_AT + 1000]


def test_two_gpus_with_one_uuid_have_idle_times_of_their_own() -> None:
    clock, works = ManualClock(), [50, 0]
    twins = [ok(), ok()._replace(identity=Identity(1, "GPU-0", pci_bus_id="b"))]
    samples = builder(
        clock,
        lambda now: DriverReading(
            tuple(
                twin._replace(utilization_percent=percent)
                for twin, percent in zip(twins, works, strict=True)
            )
        ),
    )
    samples.build()
    clock.now += 60

    assert samples.build()["gpus"]["idle_since"] == [None, BOOTED_AT + 1000]


def test_an_idle_time_continues_after_a_restart() -> None:
    clock, before = ManualClock(), IdleTimes()
    builder(clock, showing(ok(utilization_percent=0)), before).build()
    clock.now += 60
    after = IdleTimes(before.known())

    snapshot = builder(clock, showing(ok(utilization_percent=0)), after).build()

    assert snapshot["gpus"]["idle_since"] == [BOOTED_AT + 1000]


def test_a_carried_utilization_is_no_second_blip() -> None:
    clock = ManualClock()
    readings = iter([(0, False), (3, False), *[(3, True)] * 4, (0, False)])

    samples = builder(clock, lambda now: DriverReading((work(*next(readings)),)))
    since = []
    for _ in range(7):
        since += samples.build()["gpus"]["idle_since"]
        clock.now += 1

    assert since == [BOOTED_AT + 1000] * 7


def test_carried_work_is_not_idle() -> None:
    clock = ManualClock()
    readings = iter([(0, False), (80, False), (80, True)])
    samples = builder(clock, lambda now: DriverReading((work(*next(readings)),)))

    assert [samples.build()["gpus"]["idle_since"][0] for _ in range(3)] == [
        BOOTED_AT + 1000,
        None,
        None,
    ]


def test_a_gpu_is_stalled_after_ten_minutes_at_low_power_and_again_ten_after_work() -> None:
    clock = ManualClock()
    reading = ok(
        utilization_percent=100, memory_controller_utilization_percent=0, power_limit_watts=700.0
    )
    watts = iter([*[120.0] * 62, 600.0, *[120.0] * 62])
    samples = builder(
        clock, lambda now: DriverReading((reading._replace(power_watts=next(watts)),))
    )
    since = []
    for _ in range(125):
        since += samples.build()["gpus"]["stalled_since"]
        clock.now += 10

    first, second = BOOTED_AT + 1000, BOOTED_AT + 1000 + 630
    assert since == [*[None] * 60, first, first, None, *[None] * 60, second, second]


def test_a_slice_that_is_held_without_work_is_held_idle(fake_nvml: FakeNvml) -> None:
    clock, limits = ManualClock(), UseLimits(free_memory_mib=500, held_idle_after=1800.0)
    watch = Watchdog(Driver(), patience=10.0, timeout=10.0, clock=lambda: clock.now)
    holder = [Process(4242, memory_mib=4096)]
    slices = [
        Mig(processes=holder),
        Mig(processes=holder, utilization_percent=40),
        Mig(processes=holder, gpu_instance=3),
        Mig(processes=holder, gpu_instance=3, compute_instance=1),
        Mig(),
    ]
    fake_nvml.write(Scenario([Gpu(migs=slices)]))
    samples, use = builder(clock, watch.collect), {}
    for second in range(0, 1900, 5):
        shown = samples.build()
        seated = seats(shown["gpus"], shown["processes"])
        use[second] = use_of(
            shown["gpus"], shown["processes"], seated, shown["sampled_at"], limits
        ).use
        clock.now += 5
    utilization = samples.build()["gpus"]["utilization_percent"]
    watch.close()

    held = [None, "busy", "busy", "busy", "busy", "free"]
    assert use[0] == use[30] == [*held[:-1], None]
    assert use[35] == use[1800] == held
    assert use[1805] == [None, "held_idle", "busy", "busy", "busy", "free"]
    assert utilization == [None, 0, 40, None, None, 0]


def test_a_gpu_without_a_utilization_has_no_idle_time() -> None:
    assert builder(ManualClock(), showing(ok())).build()["gpus"]["idle_since"] == [None]


def test_state_since_stays_while_a_state_lasts() -> None:
    clock = ManualClock()
    picture = showing(ok())
    samples = builder(clock, lambda now: picture(now))
    samples.build()
    picture = showing(ok()._replace(state="lost", reason="fell off the bus"))
    clock.now += 1
    samples.build()
    clock.now += 10

    assert samples.build()["gpus"]["state_since"] == [BOOTED_AT + 1001]
    picture = showing(ok())
    assert samples.build()["gpus"]["state_since"] == [None]


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


def test_rows_beyond_the_wires_limit_are_cut_and_reported() -> None:
    uses = tuple(Use(pid, "C", pid) for pid in range(1, MAX_PROCESSES + 10))
    gpus = [ok(index, uses=uses if index == 0 else ()) for index in range(MAX_GPUS + 1)]

    snapshot = read_snapshot(packed(builder(ManualClock(), showing(*gpus)).build()))

    assert len(snapshot["gpus"]["index"]) == MAX_GPUS
    assert len(snapshot["processes"]["pid"]) == MAX_PROCESSES
    assert min(snapshot["processes"]["pid"]) == 10  # those with the least memory are left out
    assert snapshot_lines(snapshot) == [
        f"{MAX_GPUS} of {MAX_GPUS + 1} GPUs and slices shown",
        f"{MAX_PROCESSES} of {MAX_PROCESSES + 9} processes shown, those with the most GPU memory",
    ]


def test_ten_gpus_cut_into_seven_slices_are_all_shown() -> None:
    slices = tuple(ok(number)._replace(identity=Identity(number)) for number in range(7))
    gpus = [ok(index, slices=slices) for index in range(10)]

    snapshot = read_snapshot(packed(builder(ManualClock(), showing(*gpus)).build()))

    assert len(snapshot["gpus"]["index"]) == 80
    assert snapshot_lines(snapshot) == []


def test_a_name_with_control_characters_is_cleaned() -> None:
    gpu = ok()._replace(identity=Identity(0, "GPU-0", "NVIDIA\n\x1b[31mH100\u202e"))

    assert builder(ManualClock(), showing(gpu)).build()["gpus"]["name"] == ["NVIDIA [31mH100"]


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
def test_a_source_that_raises_is_reported_after_three_snapshots_and_ends_none(source: str) -> None:
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


def test_an_mps_server_is_told_from_its_clients() -> None:
    uses = (Use(1, "C"), Use(2, "C", mps="client"), Use(3, "C"))
    roles = {1: ProcessFacts(1, mps="server"), 2: ProcessFacts(2), 3: ProcessFacts(3)}
    sources = Sources(ManualClock(), showing(ok(uses=uses)), lambda pids, now: roles, host, cost)
    snapshot = SnapshotBuilder(ORIGIN, sources, IdleTimes()).build()

    assert snapshot["processes"]["mps"] == ["server", "client", None]


def test_what_a_gpu_did_lately_is_kept_while_it_cannot_be_read() -> None:
    clock, readings = ManualClock(), list[GpuReading]()
    samples = builder(clock, lambda now: DriverReading(gpus=(readings[-1],)))
    shown = []
    for second in range(60):
        broken = second in (31, 33)
        readings.append(
            ok(state="error") if broken else ok(utilization_percent=0, carried=second in (35, 36))
        )
        shown += samples.build()["gpus"]["activity"]
        clock.now += 1

    assert shown == [*[None] * 30, "quiet", None, "quiet", None, *["quiet"] * 26]


def test_a_carried_reading_does_not_stay_quiet_for_ever() -> None:
    clock, readings = ManualClock(), [ok(utilization_percent=0)]
    samples = builder(clock, lambda now: DriverReading(gpus=(readings[-1],)))
    shown = []
    for second in range(80):
        if second == 40:
            readings.append(ok(utilization_percent=0, carried=True))
        shown += samples.build()["gpus"]["activity"]
        clock.now += 1

    assert shown[39] == shown[69] == "quiet" and shown[70] is None


def test_mig_mode_without_slices_is_a_finding_of_its_own(
    fake_nvml: FakeNvml, watch: Watchdog
) -> None:
    fake_nvml.write(Scenario([Gpu(mig_mode=1), Gpu(migs=[Mig()]), Gpu(mig_mode=N_A)]))
    snapshot = builder(ManualClock(), watch.collect).build()

    found = snapshot["findings"]
    assert (found["kind"], found["gpu"]) == (["mig_without_slices"], [0])
    assert "/dev/nvidia-caps" in found["advice"][0]
    assert snapshot["gpus"]["health"][0] == "ok"
