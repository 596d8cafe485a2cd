"""The state of every host: live, stale, missing, conflict, forgotten."""

from typing import Any

from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.wire.changes import open_message, read_changes
from gpu_monitor.wire.codec import pack
from tests.support.snapshots import make_gpus, make_snapshot

TIMEOUT = 2.0


class Collector:
    """A fleet that receives samples at times of one common clock."""

    def __init__(self, fleet: Fleet, name: str = "node1", **members: Any) -> None:
        self.fleet, self.name, self.members = fleet, name, members
        self.sequence = 0

    def send(self, at: float, late: float = 0.0, **members: Any) -> str | None:
        """The sample taken at `at` arrives `late` seconds later; why it is refused, or None."""
        self.sequence += 1
        clocks = {"sampled_boottime": at, "sampled_at": at}
        message = make_snapshot(self.name, self.sequence, **{**clocks, **self.members, **members})
        changes = read_changes(open_message(pack(message)), self.fleet.last(self.name))
        return self.fleet.accept(self.name, changes, at + late, 1e9 + at + late, "10.0.0.1")


def make_fleet(*hosts: str, forget_after: float = 100.0) -> Fleet:
    return Fleet(hosts, TIMEOUT, forget_after)


def state(fleet: Fleet, name: str = "node1") -> str | None:
    record = fleet.records.get(name)
    return record.state if record is not None else None


def test_a_configured_host_is_missing_until_it_reports() -> None:
    fleet = make_fleet("node1")
    assert state(fleet) == "missing"
    collector = Collector(fleet)
    collector.send(0.0)
    assert state(fleet) == "missing"
    collector.send(1.0)
    assert state(fleet) == "live"


def test_an_unconfigured_host_is_not_published_before_it_is_confirmed() -> None:
    fleet = make_fleet()
    Collector(fleet).send(0.0)
    assert state(fleet) is None and fleet.changed == []


def test_a_host_is_stale_once_rpc_timeout_has_passed() -> None:
    fleet, collector = make_fleet(), Collector(make_fleet())
    collector.fleet = fleet
    collector.send(0.0)
    collector.send(1.0)
    assert not fleet.mark_stale(1.0 + TIMEOUT) and state(fleet) == "live"
    assert fleet.mark_stale(1.0 + TIMEOUT + 0.1) and state(fleet) == "stale"


def test_a_sample_that_was_late_keeps_its_host_live_for_less() -> None:
    """What is shown never exceeds `rpc_timeout` by more than the allowance and a check."""
    fleet = make_fleet()
    collector = Collector(fleet)
    for moment in (0.0, 1.0):
        collector.send(moment)
    collector.send(2.0, late=1.5)
    assert not fleet.mark_stale(4.2) and state(fleet) == "live"
    assert fleet.mark_stale(4.3) and state(fleet) == "stale"


def test_a_collector_that_restarts_behind_a_queue_stays_stale() -> None:
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2")
    for moment in (0.0, 1.0):
        first.send(moment)
    fleet.mark_stale(10.0)
    refusals = [second.send(10.0 + number, late=30.0) for number in range(10)]
    assert refusals == [None] + ["old"] * 9 and state(fleet) == "stale"


def test_a_collector_that_restarts_after_its_clock_stepped_is_soon_live() -> None:
    """A virtual machine was paused for 30 s, then its wall clock was set right."""
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2")
    for moment in (0.0, 1.0):
        first.send(moment)
    for moment in range(40, 46):
        second.send(float(moment - 30), late=30.0, sampled_at=float(moment))
        fleet.mark_stale(float(moment))
    assert state(fleet) == "live"


def test_after_a_reboot_the_clock_starts_anew() -> None:
    fleet = make_fleet()
    first = Collector(fleet, run_id="1")
    second = Collector(fleet, run_id="2", boot_id="next")
    for moment in (100.0, 101.0):
        first.send(moment)
    fleet.mark_stale(110.0)
    for moment in (5.0, 6.0):
        second.send(moment, late=130.0)
    assert state(fleet) == "live"


def test_an_old_sample_is_refused_and_keeps_no_host_live() -> None:
    fleet = make_fleet()
    collector = Collector(fleet)
    collector.send(0.0)
    collector.send(1.0)
    shown = fleet.last("node1")
    assert collector.send(1.5, late=3.0) == "old"
    assert fleet.last("node1") is shown
    fleet.mark_stale(4.6)
    assert state(fleet) == "stale"


def test_a_sample_that_arrives_twice_is_a_duplicate() -> None:
    fleet = make_fleet()
    collector = Collector(fleet)
    collector.send(0.0)
    collector.send(1.0)
    collector.sequence -= 1
    assert collector.send(1.0) == "duplicate"


def test_a_stale_host_is_live_again_with_its_first_fresh_sample() -> None:
    fleet = make_fleet()
    collector = Collector(fleet)
    for moment in (0.0, 1.0):
        collector.send(moment)
    fleet.mark_stale(10.0)
    collector.send(11.0)
    assert [change for _, change in fleet.changes] == ["live", "stale", "live"]


def test_a_restarted_collector_takes_over_without_a_conflict() -> None:
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2", gpus=make_gpus(1))
    for moment in (0.0, 1.0):
        first.send(moment)
    for moment in (2.0, 3.0):
        second.send(moment)
        fleet.mark_stale(moment)
    assert state(fleet) == "live"
    previous = fleet.last("node1")
    assert previous is not None and previous.snapshot["run_id"] == "2"


def test_a_late_message_of_the_run_before_is_no_conflict() -> None:
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2")
    first.send(0.0)
    first.send(1.0)
    second.send(2.0)
    first.send(1.9, late=0.5)
    second.send(3.0)
    fleet.mark_stale(3.1)
    assert "conflict" not in [change for _, change in fleet.changes]


def test_two_collectors_are_a_conflict_and_values_never_alternate() -> None:
    fleet = make_fleet()
    first = Collector(fleet, boot_id="first", run_id="1")
    second = Collector(fleet, boot_id="second", run_id="2")
    shown = set()
    for moment in range(20):
        first.send(float(moment))
        second.send(moment + 0.5)
        fleet.mark_stale(moment + 0.5)
        if (previous := fleet.last("node1")) is not None:
            shown.add(previous.snapshot["run_id"])
    assert state(fleet) == "conflict" and shown == {"1"}
    assert [change for _, change in fleet.changes] == ["live", "conflict"]
    problem = fleet.records["node1"].conflict()
    assert problem is not None and "first" in problem and "second" in problem


def test_three_collectors_are_a_conflict_too() -> None:
    fleet = make_fleet()
    collectors = [Collector(fleet, boot_id=str(n), run_id=str(n)) for n in range(3)]
    for moment in range(10):
        for collector in collectors:
            collector.send(float(moment))
    assert state(fleet) == "conflict"


def test_a_conflict_ends_when_the_second_collector_falls_silent() -> None:
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2")
    for moment in range(5):
        first.send(float(moment))
        second.send(moment + 0.5)
    for moment in range(5, 10):
        first.send(float(moment))
        fleet.mark_stale(float(moment))
    assert state(fleet) == "live" and fleet.records["node1"].conflict() is None


def test_the_second_collector_is_shown_when_the_first_falls_silent() -> None:
    fleet = make_fleet()
    first, second = Collector(fleet, run_id="1"), Collector(fleet, run_id="2")
    for moment in range(5):
        first.send(float(moment))
        second.send(moment + 0.5)
    for moment in range(5, 10):
        second.send(moment + 0.5)
        fleet.mark_stale(moment + 0.5)
    previous = fleet.last("node1")
    assert previous is not None and previous.snapshot["run_id"] == "2" and state(fleet) == "live"


def test_runs_that_come_and_go_do_not_pile_up() -> None:
    fleet = make_fleet()
    first = Collector(fleet, run_id="first")
    for moment in range(3):
        first.send(float(moment))
    for number in range(100):
        Collector(fleet, run_id=str(number)).send(3.0)
    assert len(fleet.records["node1"].rivals) <= 4


def test_only_a_host_that_is_not_configured_is_forgotten() -> None:
    fleet = make_fleet("kept", forget_after=100.0)
    for name in ("kept", "guest"):
        collector = Collector(fleet, name)
        collector.send(0.0)
        collector.send(1.0)
    fleet.mark_stale(50.0)
    assert fleet.forgotten == [] and state(fleet, "guest") == "stale"
    fleet.mark_stale(102.0)
    assert fleet.forgotten == ["guest"] and state(fleet, "kept") == "stale"


def test_a_name_that_was_never_confirmed_is_dropped() -> None:
    fleet = make_fleet()
    Collector(fleet).send(0.0)
    fleet.mark_stale(61.0)
    assert fleet.records == {} and fleet.forgotten == []


def test_a_changed_host_is_listed_once() -> None:
    fleet = make_fleet()
    collector = Collector(fleet)
    for moment in range(5):
        collector.send(float(moment))
    assert [record.name for record in fleet.changed] == ["node1"]


def test_a_newly_configured_host_is_missing_and_a_removed_one_without_a_report_is_gone() -> None:
    fleet = make_fleet("node1")
    fleet.expect(["node1", "node2"])
    assert state(fleet, "node2") == "missing"
    assert fleet.changes == [("node2", "missing")]
    fleet.expect(["node1"])
    assert fleet.mark_stale(10.0)
    assert state(fleet, "node2") is None and fleet.forgotten == ["node2"]
    assert state(fleet, "node1") == "missing"


def test_a_host_that_is_no_longer_expected_stays_stale_until_it_is_forgotten() -> None:
    fleet = make_fleet("node1", forget_after=100.0)
    collector = Collector(fleet)
    collector.send(0.0)
    collector.send(1.0)
    fleet.expect([])
    fleet.mark_stale(10.0)
    assert state(fleet) == "stale"
    fleet.mark_stale(90.0)
    assert state(fleet) == "stale"
    fleet.mark_stale(102.0)
    assert state(fleet) is None


def test_an_unconfirmed_host_is_missing_once_it_is_expected() -> None:
    fleet = make_fleet()
    collector = Collector(fleet)
    collector.send(0.0)
    fleet.expect(["node1"])
    assert state(fleet) == "missing"
    collector.send(1.0)
    assert state(fleet) == "live"
