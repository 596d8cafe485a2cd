"""Since when GPUs and processes of successive snapshots are idle, stalled or in a state."""

from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.gpu.readings import DriverReading, Identity, Use
from tests.support.snapshot_builder import BOOTED_AT, ManualClock, builder, ok, showing, work


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
