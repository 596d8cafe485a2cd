"""wire.schema, wire.full_reader: which messages are accepted, and the reason for each refusal."""

import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgpack import Timestamp

from gpu_monitor.wire.document import GPU_COLUMNS, PROCESS_COLUMNS, SYSTEM_FIELDS, Kind
from gpu_monitor.wire.limits import MAX_ROWS, MAX_TEXT, MAX_UNKNOWN, WireError, is_host_name
from gpu_monitor.wire.patch import same
from gpu_monitor.wire.shared_columns import MAX_SHARED_BYTES
from tests.support.snapshots import (
    check_snapshot,
    make_findings,
    make_gpus,
    make_processes,
    make_snapshot,
)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.sampled_from([2**64 - 1, -1, 0, 1, 2**53 + 1, "ok", math.nan, math.inf]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)

columns_of_numbers = st.lists(
    st.one_of(
        st.none(),
        st.integers(0, 2**20),
        st.floats(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
    ),
    min_size=1,
    max_size=3,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a document, the document itself first."""
    members: Any = value.items() if isinstance(value, dict) else ()
    members = enumerate(value) if isinstance(value, list) else members
    return [path] + [p for key, member in members for p in paths(member, (*path, key))]


def replaced(path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    message = make_snapshot()
    place: Any = message
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return message


def refusal(message: object) -> WireError:
    with pytest.raises(WireError) as caught:
        check_snapshot(message)
    return caught.value


def test_a_valid_snapshot_is_returned_unchanged() -> None:
    assert check_snapshot(make_snapshot()) == make_snapshot()


@given(anything)
def test_any_hostile_message_is_refused_with_a_reason(message: object) -> None:
    assert refusal(message).reason in {"type", "version", "limit"}


@given(st.sampled_from(paths(make_snapshot())), anything)
def test_any_value_in_any_place_is_accepted_as_json_or_refused(
    path: tuple[Any, ...], value: object
) -> None:
    try:
        accepted = check_snapshot(replaced(path, value))
    except WireError as error:
        assert error.reason and str(error)
    else:
        json.dumps(accepted, allow_nan=False)


@given(st.sampled_from(paths(make_snapshot())), anything)
def test_a_snapshot_is_accepted_after_another_one_exactly_if_it_is_accepted_alone(
    path: tuple[Any, ...], value: object
) -> None:
    previous, message = check_snapshot(make_snapshot()), replaced(path, value)
    try:
        accepted = check_snapshot(message, previous)
    except WireError as error:
        assert refusal(message).reason == error.reason
    else:
        assert same(check_snapshot(message), accepted)


WRONG_MEMBERS: list[tuple[dict[str, Any], str]] = [
    ({"version": 2}, "version"),
    ({"version": True}, "version"),
    ({"name": "a b"}, "name"),
    ({"name": "x" * 254}, "name"),
    ({"name": 7}, "name"),
    ({"boot_id": None}, "type"),
    ({"run_id": "r" * 65}, "limit"),
    ({"sequence": -1}, "value"),
    ({"sampled_boottime": math.nan}, "value"),
    ({"sampled_boottime": 2**60}, "value"),
    ({"interval_seconds": math.inf}, "value"),
    ({"findings": ["words"]}, "type"),
    ({"findings": make_findings(*["xid"] * (MAX_ROWS["findings"] + 1))}, "limit"),
    ({"findings": make_findings("xid", severity=["fatal"])}, "value"),
    ({"findings": make_findings("xid", severity=[None])}, "missing"),
    ({"findings": make_findings("xid", kind=[None])}, "missing"),
    ({"findings": make_findings("xid", gpu=[2])}, "value"),
    ({"findings": make_findings("xid", gpu=[-1])}, "value"),
    ({"findings": make_findings("Xid 79 of alice")}, "value"),
    ({"findings": make_findings("xid\n")}, "value"),
    ({"findings": make_findings("xid", since=["yesterday"])}, "type"),
    ({"findings": make_findings("xid", words=["x" * (MAX_TEXT + 1)])}, "limit"),
    ({"findings": make_findings("xid", advice=[["reset it"]])}, "type"),
    ({"findings": make_findings("xid", words=[])}, "length"),
    ({"findings": {"words": ["it is broken"]}}, "missing"),
    ({"gpus": make_gpus(MAX_ROWS["gpus"] + 1)}, "limit"),
    ({"gpus": make_gpus(2, utilization_percent=[1])}, "length"),
    ({"gpus": make_gpus(2, utilization_percent=[1, "a"])}, "type"),
    ({"gpus": make_gpus(2, utilization_percent=[True, 1])}, "type"),
    ({"gpus": make_gpus(2, memory_used_mib=[2**64 - 1, 1])}, "value"),
    ({"gpus": make_gpus(2, memory_used_mib=[-1, 1])}, "value"),
    ({"gpus": make_gpus(2, temperature_celsius=[math.nan, 1])}, "value"),
    ({"gpus": make_gpus(2, state=["ok", "fine"])}, "value"),
    ({"gpus": make_gpus(2, state=["ok", None])}, "missing"),
    ({"gpus": make_gpus(2, parent=[None, 2])}, "value"),
    ({"gpus": make_gpus(2, throttle=[[], [1]])}, "type"),
    ({"gpus": make_gpus(2, health_reasons=[[], "words"])}, "type"),
    ({"gpus": make_gpus(2, health_reasons=[[], ["x"] * 33])}, "limit"),
    ({"gpus": make_gpus(2, health_reasons=[[], ["x" * (MAX_TEXT + 1)]])}, "limit"),
    ({"gpus": {"uuid": ["a"]}}, "missing"),
    ({"processes": make_processes(gpu=[2])}, "value"),
    ({"processes": make_processes(gpu=[None])}, "missing"),
    ({"processes": make_processes(command=["x" * (MAX_TEXT + 1)])}, "limit"),
    ({"processes": make_processes(type=["X"])}, "value"),
    ({"system": {"hostname": 1}}, "type"),
    ({"system": {str(i): 1 for i in range(129)}}, "limit"),
    ({"novelty": [[[[[[[[[[1]]]]]]]]]]}, "limit"),
    ({"novelty": b"bytes"}, "type"),
    ({"novelty": Timestamp(1)}, "type"),
]


@pytest.mark.parametrize(("members", "reason"), WRONG_MEMBERS)
def test_each_fault_is_refused_with_its_reason(members: dict[str, Any], reason: str) -> None:
    assert refusal(make_snapshot(**members)).reason == reason


def test_unknown_members_of_a_newer_collector_pass_through() -> None:
    gpus = make_gpus(2, shiny=[{"a": 1}, None])
    snapshot = check_snapshot(make_snapshot(gpus=gpus, novelty={"x": [1, None]}))
    assert (snapshot["gpus"]["shiny"], snapshot["novelty"]) == (  # type: ignore[typeddict-item]  # a newer member
        [{"a": 1}, None],
        {"x": [1, None]},
    )


def test_too_many_values_in_unknown_members_are_refused() -> None:
    columns = {f"shiny{number}": [["a"]] * 512 for number in range(MAX_UNKNOWN // 1024)}
    processes = {key: column * 512 for key, column in make_processes().items()} | columns

    assert check_snapshot(make_snapshot(processes=processes))["processes"].keys() >= columns.keys()
    found = refusal(make_snapshot(processes=processes, novelty=[{"a": [[]]}]))
    assert found.reason == "limit" and "unknown values" in str(found)


def test_null_scalars_of_a_newer_collector_are_left_out() -> None:
    system = {"hostname": "node1", "load_1m": None, "novelty": {"x": None}}
    snapshot = check_snapshot(make_snapshot(system=system, other=None))
    assert snapshot["system"] == {"hostname": "node1", "novelty": {}}
    assert "other" not in snapshot


def test_a_collector_without_health_reasons_is_accepted() -> None:
    message = make_snapshot()
    del message["gpus"]["health_reasons"]
    assert "health_reasons" not in check_snapshot(message)["gpus"]


def test_missing_tables_are_empty() -> None:
    message = make_snapshot()
    for table in ("gpus", "processes", "disks", "findings"):
        del message[table]
    snapshot = check_snapshot(message)
    assert snapshot["gpus"] == snapshot["findings"] == {}


def test_columns_that_two_hosts_have_in_common_are_stored_once() -> None:
    words: list[list[str]] = [["too hot"], []]
    gpus = make_gpus(2, throttle=words, health_reasons=words)
    one, other = (check_snapshot(make_snapshot(name, gpus=gpus)) for name in ("node1", "node2"))
    assert one["gpus"] == other["gpus"] and one["gpus"]["throttle"] == words
    for key in ("name", "state", "reason", "throttle", "health_reasons"):
        assert one["gpus"][key] is other["gpus"][key]
    assert one["gpus"]["uuid"] is not other["gpus"]["uuid"]


@pytest.mark.parametrize("key", ["user", "command", "container", "slurm_job_id", "pod_uid"])
def test_repeated_texts_are_stored_once(key: str) -> None:
    texts = ["".join(("al", "ice")), "".join(("al", "ice"))]
    columns = {name: column * 2 for name, column in make_processes().items()} | {key: texts}
    one, other = check_snapshot(make_snapshot(processes=columns))["processes"][key]
    assert one is other


def test_shared_columns_stay_small_under_ever_new_values() -> None:
    tracemalloc.start()
    for number in range(40):
        text = str(number).ljust(MAX_TEXT - 10)
        throttle = [[f"{row} {word} {text}" for word in range(3)] for row in range(64)]
        commands = [f"{row} {number}" for row in range(512)]
        processes = {key: column * 512 for key, column in make_processes().items()}
        processes |= {"command": commands}
        gpus = make_gpus(64, throttle=throttle)
        check_snapshot(make_snapshot(gpus=gpus, processes=processes))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * MAX_SHARED_BYTES


def test_a_column_that_vanished_makes_the_table_a_new_one() -> None:
    before = check_snapshot(make_snapshot())
    gpus = make_gpus(2)
    del gpus["fan_percent"]
    assert check_snapshot(make_snapshot(gpus=gpus), before)["gpus"] == gpus


def test_a_process_on_a_gpu_that_has_gone_is_refused_although_its_table_is_unchanged() -> None:
    before = check_snapshot(make_snapshot(processes=make_processes(gpu=[1])))
    with pytest.raises(WireError, match=r"processes\.gpu"):
        check_snapshot(make_snapshot(gpus=make_gpus(1), processes=make_processes(gpu=[1])), before)


def test_host_names_are_letters_digits_and_four_punctuation_marks() -> None:
    assert is_host_name("gpu-1.lab_a:2001") and is_host_name("fe80::1")
    assert not any(map(is_host_name, ("", "a/b", "a\n", "ä", "a" * 254, None, 3)))


def test_every_known_field_has_a_value_in_a_test_of_packing() -> None:
    values = {Kind.COUNT: 1, Kind.NUMBER: 1.5, Kind.TEXT: "x", Kind.WORDS: ["x"], Kind.ROW: 0}
    gpus = {key: [values[kind]] for key, kind in GPU_COLUMNS.items()} | {
        "state": ["ok"],
        "health": ["ok"],
        "activity": ["quiet"],
    }
    processes = {key: [values[kind]] for key, kind in PROCESS_COLUMNS.items()} | {"type": ["C"]}
    system = {key: values[kind] for key, kind in SYSTEM_FIELDS.items()}
    message = make_snapshot(gpus=gpus, processes=processes, system=system)
    assert check_snapshot(message) == message
