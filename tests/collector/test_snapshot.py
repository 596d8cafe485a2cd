"""Readings and clocks become a snapshot; a recorded machine gives the same bytes each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_monitor.broker.gpu_use import UseLimits, use_of
from gpu_monitor.broker.seats import seats
from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.columns import MAX_GPUS, MAX_PROCESSES, packed
from gpu_monitor.collector.gpu.driver import Driver
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading, Identity, Use
from gpu_monitor.collector.gpu.watchdog import Watchdog
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.snapshot import SnapshotBuilder, Sources
from gpu_monitor.wire.codec import unpack
from gpu_monitor.wire.document import Snapshot
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import N_A, Gpu, Mig, Process, Scenario
from tests.support.finding_lines import snapshot_lines
from tests.support.snapshot_builder import (
    BOOTED_AT,
    ORIGIN,
    ManualClock,
    builder,
    cost,
    host,
    ok,
    showing,
)
from tests.support.snapshots import read_snapshot

GOLDEN = Path(__file__).parent.parent / "golden" / "snapshot.msgpack"


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


def test_a_snapshot_has_the_time_at_which_its_readings_began() -> None:
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
