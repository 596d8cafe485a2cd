"""What the collector logs of findings."""

import logging
from typing import Any, cast

import pytest

from gpu_monitor.collector.finding_log import FindingLog
from gpu_monitor.wire.document import Snapshot
from tests.support.snapshots import make_findings, make_snapshot


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> FindingLog:
    caplog.set_level(logging.INFO, "gpu_monitor.collector.finding_log")
    return FindingLog()


def having(*kinds: str, **columns: list[Any]) -> Snapshot:
    return cast(Snapshot, make_snapshot(findings=make_findings(*kinds, **columns)))


def test_a_finding_is_logged_when_it_begins_and_when_it_is_over(
    log: FindingLog, caplog: pytest.LogCaptureFixture
) -> None:
    lost = having("gpu_lost", gpu=[1], words=["fell off the bus"], advice=["reset the GPU"])
    for snapshot in (having(), lost, lost, having(), having()):
        log.log_changes(snapshot)

    line = "GPU 1: fell off the bus: reset the GPU"
    assert caplog.messages == [line, f"resolved: {line}"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_new_words_are_logged_and_the_old_ones_are_not_resolved(
    log: FindingLog, caplog: pytest.LogCaptureFixture
) -> None:
    for words in ("Xid 48 at noon", "Xid 48 2 times"):
        log.log_changes(having("xid", gpu=[0], words=[words]))

    assert caplog.messages == ["GPU 0: Xid 48 at noon", "GPU 0: Xid 48 2 times"]


def test_what_needs_no_attention_is_logged_as_information(
    log: FindingLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.log_changes(having("driver", severity=["info"]))

    assert [record.levelname for record in caplog.records] == ["INFO"]
