"""wire.update, wire.fleet_check: whatever answers at updates_port, a replica stays a document."""

import copy
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_monitor.web.api.exposition import render
from gpu_monitor.web.api.free_gpus import Wanted, find_offers
from gpu_monitor.web.api.metrics import fleet_metrics
from gpu_monitor.web.auth.redaction import redact_document, redact_patch
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.patch import merge
from gpu_monitor.wire.replica import Replica
from gpu_monitor.wire.update import UpdateError, read_update
from tests.support.house import ROOT
from tests.support.snapshots import make_gpus, make_processes
from tests.support.web_house import make_fleet, make_host
from tests.wire.test_schema import anything, paths

HOST = make_host(
    2,
    gpus=make_gpus(2, use=["free", "busy"], throttle=[[], ["hot"]]),
    processes=make_processes(),
    system={"hostname": "a", "cpu_percent": 3},
    collector={"version": "0.1.0", "cpu_percent": 0.1},
)
PICTURE = {"run_id": "r", "sequence": 5, "fleet": make_fleet(a=HOST)}
CHANGE = {
    "now": 1001.0,
    "broker": {"refused": {"type": 1}},
    "users": {"alice": {"gpus": 2}},
    "hosts": {"a": {"gpus": {"throttle": [[], []], "power_watts": [1, 2]}, "state": "live"}},
}
PATCH = {"run_id": "r", "sequence": 6, "patch": CHANGE}


def replaced(message: Any, path: tuple[Any, ...], value: object) -> Any:
    """The message with another value in one place; with ... in place of a value, without it."""
    if not path:
        return {} if value is ... else value
    changed = copy.deepcopy(message)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def synced() -> Replica:
    replica = Replica({"version": "0.1.0", "assets": "abc"}, rpc_timeout=2.0, now=0.0)
    replica.apply_picture(copy.deepcopy(PICTURE), 0.0)
    return replica


def serve(document: dict[str, Any], patch: dict[str, Any]) -> None:
    """What a web server makes of a document and of a patch for its viewers, of every role."""
    for role in ("commands", "names", "counts"):
        json.dumps(redact_document(document, role), allow_nan=False)
        json.dumps(redact_patch(patch, role), allow_nan=False)
    for openmetrics in (True, False):
        render(fleet_metrics(document), openmetrics=openmetrics)
    find_offers(document["hosts"], Wanted(1, 1.0, "H100"))
    assert "now" in document or document["broker"]["state"] == "lost"


def receive(replica: Replica, topic: bytes, message: object) -> None:
    """As a subscriber does: a message is applied and served, or changes nothing."""
    before, viewer = replica.document, copy.deepcopy(replica.document)
    try:
        topic, update = read_update([topic, pack(message)])
        apply = replica.apply_patch if topic == b"patch" else replica.apply_picture
        told = apply(update, 0.1)
    except UpdateError as error:
        assert replica.document is before and str(error).isprintable()
    else:
        serve(replica.document, told or {})
        assert merge(viewer, told or {}) == replica.document


@settings(max_examples=400)
@given(st.sampled_from(paths(PICTURE)), anything | st.just(...))
def test_a_mutated_picture_is_served_or_changes_nothing(path: Any, value: object) -> None:
    replica = synced()
    receive(replica, b"picture/1", replaced(PICTURE, path, value))
    serve(replica.document, {})


@settings(max_examples=400)
@given(st.sampled_from(paths(PATCH)), anything | st.just(...))
def test_a_mutated_patch_is_served_or_a_picture_is_requested(path: Any, value: object) -> None:
    replica = synced()
    receive(replica, b"patch", replaced(PATCH, path, value))
    receive(replica, b"picture/1", PICTURE)
    assert replica.document["hosts"]["a"]["gpus"] == HOST["gpus"]


@given(st.lists(st.tuples(st.sampled_from(paths(PATCH)), anything), max_size=4))
def test_mutated_patches_that_came_before_the_picture_do_not_prevent_a_later_one(
    mutations: list[tuple[Any, object]],
) -> None:
    replica = Replica({}, rpc_timeout=2.0, now=0.0)
    for path, value in mutations:
        receive(replica, b"patch", replaced(PATCH, path, value))
    receive(replica, b"picture/1", PICTURE)
    receive(replica, b"picture/1", PICTURE)
    assert not replica.lost


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"patch"],
        [b"patch", b"\x80", b"\x80"],
        [b"patch", b""],
        [b"patch", b"\xc1"],
        [b"patch", b"\x01"],
        [b"patch", b"HTTP/1.1 400 Bad Request\r\n"],
        [b"patch", b"\x91" * 100_000],
        [b"patch", b"\xdd\xff\xff\xff\xff"],
        [b"\xff\xfe", pack({})],
        [b"recent/\xff", pack({"run_id": "r"})],
        [b"recent/1/a", pack({"run_id": "r", "recent": 3})],
        [b"patch", pack({"run_id": "", "sequence": 1, "patch": {}})],
        [b"patch", pack({"run_id": "r", "sequence": True, "patch": {}})],
        [b"patch", pack({"run_id": "r", "sequence": 1, "patch": None})],
        [b"picture/1", pack({"run_id": "r", "sequence": 1, "fleet": [1]})],
        [b"patch", msgpack.packb({"run_id": "r", "sequence": 1, "patch": {"a": b"bytes"}})],
        [b"patch", msgpack.packb({"run_id": "r", "sequence": 1, "patch": {b"a": 1}})],
        [b"patch", msgpack.packb({"run_id": "r", "sequence": 1, "patch": {"a": [float("nan")]}})],
        [b"patch", msgpack.packb({"run_id": "r", "sequence": 1, "patch": {"a": float("inf")}})],
        [
            b"patch",
            msgpack.packb({"run_id": "r", "sequence": 1, "patch": {"a": msgpack.Timestamp(1)}}),
        ],
    ],
)
def test_what_is_no_message_of_a_broker_is_refused_in_printable_words(frames: list[bytes]) -> None:
    with pytest.raises(UpdateError) as caught:
        read_update(frames)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"now": None},
        {"hosts": None},
        {"hosts": {"a": 3}},
        {"hosts": {"b": {}}},
        {"hosts": {"a": {"state": None}}},
        {"hosts": {"a": {"gpus": {"index": [0]}}}},
        {"hosts": {"a": {"gpus": {"index": None}}}},
        {"hosts": {"a": {"gpus": {"power_watts": ["1", "2"]}}}},
        {"hosts": {"a": {"gpus": {"parent": [None, 9]}}}},
        {"hosts": {"a": {"gpus": make_gpus(1), "processes": make_processes(gpu=[1])}}},
        {"hosts": {"a": {"gpus": {"throttle": [[], [1]]}}}},
        {"hosts": {"a": {"gpus": {"throttle": [[], "hot"]}}}},
        {"hosts": {"a": {"system": {"cpu_percent": "1"}}}},
        {"hosts": {"a": {"findings": {"kind": ["xid"]}}}},
        {"broker": {"state": None}},
        {"broker": {"refused": {"type": "1"}}},
        {"broker": {"warnings": "x"}},
        {"totals": {"hosts": "1"}},
        {"users": {"alice": 1}},
        {"users": {"alice": {"hosts": 1}}},
        {"version": 2},
        {"web": {"assets": "forged"}},
    ],
)
def test_a_patch_after_which_the_document_is_none_is_not_applied(change: dict[str, Any]) -> None:
    replica = synced()
    before = replica.document
    with pytest.raises(UpdateError):
        replica.apply_patch({"run_id": "r", "sequence": 6, "patch": change}, 0.1)
    assert replica.document is before and replica.needs_picture(0.1)


def test_the_recorded_document_and_patches_of_a_broker_are_accepted() -> None:
    golden = ROOT / "tests" / "golden"
    fleet = json.loads((golden / "document.json").read_text())
    replica = Replica({}, rpc_timeout=2.0, now=0.0)
    replica.apply_picture({"run_id": "r", "sequence": 0, "fleet": fleet}, 0.0)
    for number, change in enumerate(json.loads((golden / "patches.json").read_text()), 1):
        _, update = read_update(
            [b"patch", pack({"run_id": "r", "sequence": number, "patch": change})]
        )
        assert replica.apply_patch(update, 0.1) == change
    assert not replica.needs_picture(1.0)
