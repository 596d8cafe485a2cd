"""broker.ingest: a message is applied, or refused, counted and logged within bounds."""

import copy
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.ingest import Ingest, Refusals, name_in
from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve.server import peer_with_key
from tests.support.snapshots import make_findings, make_gpus, make_snapshot

PEER = "127.0.0.1"


def make_ingest() -> Ingest:
    return Ingest(Fleet((), 2.0, 1000.0), Directory(()), lambda: None)


def send(ingest: Ingest, sequence: int, late: float = 0.0, **members: Any) -> None:
    clock = float(sequence)
    message = make_snapshot(sequence=sequence, sampled_boottime=clock) | members
    ingest.ingest(pack(message), PEER, clock + late)


def shown(ingest: Ingest) -> Any:
    record = ingest._fleet.records["node1"]
    return record.snapshot


def test_a_new_snapshot_shares_equal_columns_with_the_last() -> None:
    ingest = make_ingest()
    for sequence in (1, 2):
        send(ingest, sequence)
    first = copy.copy(shown(ingest)["gpus"])
    processes = shown(ingest)["processes"]
    send(ingest, 3, gpus=make_gpus(2, power_watts=[9, 9]))
    assert shown(ingest)["gpus"]["power_watts"] == [9, 9]
    assert shown(ingest)["gpus"]["uuid"] is first["uuid"]
    assert shown(ingest)["processes"] is processes


def test_another_number_of_gpus_is_read_in_full() -> None:
    ingest = make_ingest()
    for sequence in (1, 2):
        send(ingest, sequence)
    for sequence in (3, 4):
        send(ingest, sequence, gpus=make_gpus(3), findings=make_findings("xid"))
    assert len(shown(ingest)["gpus"]["uuid"]) == 3 and shown(ingest)["sequence"] == 4
    assert ingest.refusals.counts == {}


def test_an_old_message_between_fresh_ones_changes_nothing() -> None:
    ingest = make_ingest()
    for sequence in (1, 2):
        send(ingest, sequence)
    send(
        ingest,
        3,
        late=10.0,
        gpus=make_gpus(2, power_watts=[666, 666]),
        findings=make_findings("xid"),
    )
    send(ingest, 4)
    assert shown(ingest)["findings"] == make_findings() and shown(ingest)["gpus"][
        "power_watts"
    ] == [71, 71]
    assert ingest.refusals.counts == {"old": 1}


def test_two_alternating_runs_are_not_mixed() -> None:
    ingest = make_ingest()
    for sequence in range(1, 9):
        send(ingest, sequence, run_id="one")
        send(ingest, sequence, run_id="two", gpus=make_gpus(1))
    assert shown(ingest)["run_id"] == "one" and len(shown(ingest)["gpus"]["uuid"]) == 2
    assert ingest._fleet.records["node1"].state == "conflict"


def test_a_message_that_waits_while_its_key_is_revoked_is_refused() -> None:
    issued = {"KEY": "node1"}
    directory = Directory(())
    directory.use_keys(issued.get)
    ingest = Ingest(Fleet((), 2.0, 1000.0), directory, lambda: None)
    peer = peer_with_key("10.0.0.1", "KEY")
    assert ingest.admits(peer, 1.0)
    del issued["KEY"]
    directory.forget_peers()
    ingest.ingest(pack(make_snapshot("node2")), peer, 1.0)
    assert ingest._fleet.records == {} and ingest.refusals.counts == {"unknown key": 1}
    assert not ingest.admits(peer, 1.0) and ingest.refusals.counts == {"unknown key": 2}


def test_a_message_that_repeats_the_last_is_refused_once_its_key_is_revoked() -> None:
    issued = {"KEY": "node1"}
    directory = Directory(())
    directory.use_keys(issued.get)
    ingest = Ingest(Fleet((), 2.0, 1000.0), directory, lambda: None)
    peer = peer_with_key("10.0.0.1", "KEY")
    for sequence in (1, 2, 3):
        if sequence == 3:
            del issued["KEY"]
            directory.forget_peers()
        message = make_snapshot(sequence=sequence, sampled_boottime=float(sequence))
        ingest.ingest(pack(message), peer, float(sequence))
    assert shown(ingest)["sequence"] == 2
    assert ingest.refusals.counts == {"unknown key": 1}


def test_a_conflict_names_the_addresses_of_both_sides() -> None:
    directory = Directory(())
    directory.use_keys({"KEY": "node1"}.get)
    ingest = Ingest(Fleet((), 2.0, 1000.0), directory, lambda: None)
    for sequence in range(1, 6):
        for number in (1, 2):
            members = {"run_id": f"{number}", "boot_id": f"boot{number}"}
            message = make_snapshot(sequence=sequence, sampled_boottime=float(sequence), **members)
            peer = peer_with_key(f"10.0.0.{number}", "KEY")
            ingest.ingest(pack(message), peer, float(sequence))
    words = ingest._fleet.records["node1"].conflict() or ""
    assert "from 10.0.0.1 (boot boot1) and from 10.0.0.2 (boot boot2)" in words
    assert "KEY" not in words


def test_the_name_is_found_without_unpacking() -> None:
    for name in ("a", "node1", "n" * 31, "n" * 32, "n" * 253):
        assert name_in(pack(make_snapshot(name))) == name


@given(st.binary(max_size=80))
def test_a_name_that_cannot_be_found_is_empty_or_text(data: bytes) -> None:
    assert isinstance(name_in(data), str)
    assert isinstance(name_in(b"\xa4name" + data), str)


@given(st.binary(max_size=200))
def test_an_empty_message_is_an_error(data: bytes) -> None:
    ingest = make_ingest()
    ingest.ingest(b"\x8e\xa4name\xa5node1" + data, PEER, 1.0)
    ingest.ingest(data, PEER, 1.0)
    assert sum(ingest.refusals.counts.values()) == 2


def test_a_reason_is_logged_once_per_peer(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    with caplog.at_level(logging.WARNING):
        for now in range(100):
            refusals.add("msgpack", "10.0.0.1", "detail", float(now))
            refusals.add("msgpack", "10.0.0.2", "detail", float(now))
        assert len(caplog.records) == 2
        refusals.add("msgpack", "10.0.0.1", "detail", 5000.0)
    assert len(caplog.records) == 3 and refusals.counts == {"msgpack": 201}


def test_a_message_cannot_inject_lines_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Refusals().add("type", "10.0.0.1", "gpus.\n\x1b[2Jall is well is not a list", 0.0)
    assert "\n" not in caplog.text.rstrip("\n") and "\x1b" not in caplog.text


def test_many_strangers_silence_the_log_neither_for_other_reasons_nor_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    for number in range(1000):
        refusals.add("unknown host", f"stranger {number}", "detail", 0.0)
    refusals.add("conflict", "a host", "detail", 1.0)
    assert "from a host: conflict" in caplog.text
    refusals.add("unknown host", "late", "detail", 3599.0)
    assert "from late" not in caplog.text
    refusals.add("unknown host", "late", "detail", 3600.0)
    assert "from late" in caplog.text
    assert caplog.text.count("only counted") == 1
    assert sum(len(peers) for peers in refusals._logged.values()) == 2


def test_a_thousand_peers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for number in range(1000):
        refusals.add("old", f"10.0.{number // 256}.{number % 256}", "detail", float(number))
    assert len(caplog.records) <= 257 and refusals.counts == {"old": 1000}
