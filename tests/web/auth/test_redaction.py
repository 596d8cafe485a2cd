"""No frame, response or patch contains what its viewer's role must not see."""

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth.redaction import (
    HIDDEN_REASON,
    _without,
    redact_document,
    redact_host,
    redact_patch,
)
from gpu_monitor.web.settings import Role
from gpu_monitor.web.stream.encodings import ENCODINGS
from gpu_monitor.wire.document import (
    FINDING_COLUMNS,
    GPU_COLUMNS,
    PROCESS_COLUMNS,
    USE_COLUMNS,
)
from gpu_monitor.wire.patch import compare, merge
from tests.support.house import ROOT
from tests.support.snapshots import make_findings
from tests.support.web_house import Follower, make_host, web_house

ROLES: tuple[Role, ...] = get_args(Role)
LESS: tuple[Role, ...] = ("counts", "names")
WHO = {
    "user": ["SECRET-user"],
    "uid": [4242424242],
    "group": ["SECRET-group"],
    "effective_user": ["SECRET-other"],
    "pid": [4343434343],
}
WHAT = {
    "command": ["SECRET-command"],
    "container": ["SECRET-box"],
    "slurm_job_id": ["SECRET-job"],
    "pod_uid": ["SECRET-pod"],
}
UNKNOWN = {"shiny": ["SECRET-unknown"]}
FINDINGS: dict[str, Any] = {
    **make_findings("memory_held", gpu=[1]),
    "words": ["SECRET-user holds 7 GiB"],
    "advice": ["kill 4343434343"],
}
SECRETS: dict[Role, tuple[str, ...]] = {
    "counts": ("SECRET", "4242424242", "4343434343"),
    "names": ("SECRET-command", "SECRET-box", "SECRET-job", "SECRET-pod", "SECRET-unknown"),
    "commands": (),
}
PROCESSES = {"gpu": [0], "started_at": [5.0], "gpu_memory_mib": [7], **WHO, **WHAT, **UNKNOWN}


def talkative_host(**more: Any) -> Any:
    """A host that sends everything it can, and members that this version does not know."""
    host = make_host(1, 1, **more)
    host["gpus"] |= {"reason": [None, "SECRET-reason"], "shiny": ["SECRET-unknown", None]}
    host["gpus"] |= {"health_reasons": [["SECRET-reason"], None]}
    return {
        **host,
        "findings": {**FINDINGS, **UNKNOWN},
        "system": {"hostname": "a", "shiny": "SECRET-unknown"},
        "collector": {"version": "1", "shiny": "SECRET-unknown"},
        "disks": {"mount": ["/home/SECRET-user"], "used_mib": [1]},
        "processes": PROCESSES,
        "shiny": {"deep": ["SECRET-unknown"]},
    }


def talkative_fleet(**hosts: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "now": 1.0,
        "broker": {"state": "live", "shiny": "SECRET-unknown"},
        "web": {"version": "0", "assets": "a"},
        "totals": {"gpus": 1, "users": 1, "shiny": "SECRET-unknown"},
        "users": {"SECRET-user": {"gpus": 1}},
        "hosts": hosts,
        "shiny": "SECRET-unknown",
    }


def leaks(text: str, role: Role) -> list[str]:
    return [secret for secret in SECRETS[role] if secret in text]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_no_byte_that_it_may_not(role: Role) -> None:
    fleet = talkative_fleet(a=talkative_host())
    assert leaks(json.dumps(redact_document(fleet, role)), role) == []
    assert leaks(json.dumps(redact_patch(fleet, role)), role) == []
    assert leaks(json.dumps(redact_host(fleet["hosts"]["a"], role)), role) == []


def test_the_role_counts_sees_the_cost_of_processes_and_the_kinds_of_findings() -> None:
    host = redact_host(talkative_host(), "counts")
    assert host["processes"] == {"gpu": [0], "started_at": [5.0], "gpu_memory_mib": [7]}
    assert host["findings"] == {
        "kind": ["memory_held"],
        "severity": ["warning"],
        "gpu": [1],
        "since": FINDINGS["since"],
    }
    assert host["gpus"]["health_reasons"] == [[HIDDEN_REASON], None]
    assert host["gpus"]["uuid"] == ["GPU-0", "GPU-1"]
    assert redact_document(talkative_fleet(), "counts")["users"] == {}


def test_the_role_names_sees_everything_but_commands() -> None:
    host = redact_host(talkative_host(), "names")
    assert host["processes"].keys() == PROCESSES.keys() - WHAT.keys() - UNKNOWN.keys()
    assert host["findings"] == FINDINGS
    assert host["gpus"]["health_reasons"] == [["SECRET-reason"], None]
    assert redact_document(talkative_fleet(), "names")["users"] == {"SECRET-user": {"gpus": 1}}


def test_the_role_commands_sees_everything() -> None:
    fleet = talkative_fleet(a=talkative_host())
    assert redact_document(fleet, "commands") == {
        **fleet,
        "web": {**fleet["web"], "role": "commands"},
    }
    assert redact_patch(fleet, "commands") is fleet


@pytest.mark.parametrize("role", LESS)
def test_every_column_is_either_shown_to_or_hidden_from_each_role(role: Role) -> None:
    """No new column is hidden or shown by accident."""
    tables = {
        "gpus": [*GPU_COLUMNS, *USE_COLUMNS],
        "processes": list(PROCESS_COLUMNS),
        "findings": list(FINDING_COLUMNS),
    }
    host = {name: {column: [1] for column in columns} for name, columns in tables.items()}
    hidden = {
        name: set(columns) - redact_host(host, role)[name].keys()
        for name, columns in tables.items()
    }
    assert (
        hidden
        == {
            "counts": {
                "gpus": {"reason", "processes_unread"},
                "processes": WHO.keys() | WHAT.keys(),
                "findings": {"words", "advice"},
            },
            "names": {"gpus": set(), "processes": WHAT.keys(), "findings": set()},
        }[role]
    )


def test_the_protocol_page_lists_what_each_role_sees() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    rows = dict(re.findall(r"^\| `(counts|names)` \| (.*) \|$", page, re.MULTILINE))
    processes = {column: [1] for column in PROCESS_COLUMNS}
    findings = {column: [1] for column in FINDING_COLUMNS}
    shown = redact_host({"processes": processes, "findings": findings}, "counts")
    for table in shown:
        (listed,) = re.findall(rf"of `{table}` only (.*?);", rows["counts"])
        assert set(re.findall(r"`(\w+)`", listed)) == shown[table].keys()
    assert set(re.findall(r"`(\w+)`", rows["names"])) == WHAT.keys()


scalars = st.sampled_from([None, True, 0, 2.5, "SECRET-command", "SECRET-user"])
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["shiny", "user", "hosts"]), inner, max_size=2)
    ),
    max_leaves=4,
)
secret_cells = st.lists(st.sampled_from(["SECRET-command", None]), max_size=2)
user_cells = st.lists(st.sampled_from(["SECRET-user", None]), max_size=2)
open_cells = st.lists(st.sampled_from([1, None]), max_size=2)
tables = st.fixed_dictionaries(
    {},
    optional={
        "pid": open_cells,
        "gpu": open_cells,
        "reason": open_cells,
        "use": open_cells,
        "health_reasons": st.none()
        | st.lists(st.sampled_from([["SECRET-user"], [], None]), max_size=2),
        "command": secret_cells,
        "slurm_job_id": secret_cells,
        "pod_uid": secret_cells,
        "shiny": anything,
    },
)
finding_tables = st.fixed_dictionaries(
    {"kind": open_cells},
    optional={"words": user_cells, "advice": user_cells, "shiny": secret_cells},
)
hosts = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["live", "stale"]),
        "gpus": tables,
        "processes": tables,
        "findings": finding_tables,
        "system": st.fixed_dictionaries({}, optional={"os": st.just("x"), "shiny": anything}),
        "shiny": anything,
    },
)
users = st.fixed_dictionaries({"gpus": st.integers(0, 2)})
fleets = st.fixed_dictionaries(
    {
        "hosts": st.dictionaries(st.sampled_from("ab"), hosts, max_size=2),
        "users": st.dictionaries(st.sampled_from(["bob", "__proto__"]), users, max_size=2),
        "web": st.fixed_dictionaries({"version": st.just("0"), "assets": st.sampled_from("xy")}),
    },
    optional={
        "now": st.floats(0, 9),
        "totals": st.dictionaries(st.sampled_from(["gpus", "users"]), scalars, max_size=2),
        "broker": st.fixed_dictionaries({}, optional={"state": st.just("live"), "shiny": anything}),
        "shiny": anything,
    },
)
wild_hosts = st.dictionaries(
    st.sampled_from("ab"),
    st.none()
    | scalars
    | st.dictionaries(
        st.sampled_from(["state", "gpus", "processes", "findings", "shiny"]),
        st.none() | tables | finding_tables | scalars,
        max_size=3,
    ),
    max_size=2,
)
wild_patches = st.dictionaries(
    st.sampled_from(["hosts", "users", "totals", "broker", "now", "shiny"]),
    st.none() | wild_hosts | anything,
    max_size=3,
)


def json_shaped(document: dict[str, Any]) -> dict[str, Any]:
    """Drops members that are null, which no document has."""
    shaped: dict[str, Any] = merge({}, document)
    return shaped


@given(fleets, st.lists(fleets, max_size=4), st.sampled_from(ROLES))
def test_redacted_patches_lead_to_the_redacted_document(
    first: dict[str, Any], later: list[dict[str, Any]], role: Role
) -> None:
    document = json_shaped(first)
    shown = redact_document(document, role)
    for fleet in map(json_shaped, later):
        patch = compare(document, fleet)
        document = fleet
        redacted = redact_patch(patch, role)
        shown = merge(shown, redacted)
        assert shown == redact_document(document, role)
        texts = json.dumps([shown, redacted])
        assert role == "commands" or "SECRET-command" not in texts
        assert role != "counts" or "SECRET-user" not in texts


@given(fleets, st.lists(wild_patches, max_size=4), st.sampled_from(LESS))
def test_redacted_malformed_patches_lead_to_the_redacted_document(
    first: dict[str, Any], patches: list[dict[str, Any]], role: Role
) -> None:
    document = json_shaped(first)
    shown = redact_document(document, role)
    for patch in patches:
        if role == "counts":
            patch.pop("users", None)
        document = merge(document, patch)
        shown = merge(shown, redact_patch(patch, role))
        assert shown == redact_document(document, role)


@pytest.mark.parametrize("role", LESS)
@pytest.mark.parametrize("protocol", [None, *ENCODINGS])
async def test_every_frame_in_every_encoding_is_redacted(protocol: str | None, role: Role) -> None:
    async with web_house(viewer_role=role) as house:
        await house.show(a=talkative_host())
        async with house.watch(protocol=protocol) as socket:
            viewer = Follower(socket, protocol)
            await viewer.receive()
            host = talkative_host(state="stale")
            house.broker.send_patch({"hosts": {"a": host, "b": host}, "users": {"SECRET-x": {}}})
            while "b" not in viewer.document["hosts"]:
                assert leaks(json.dumps(await viewer.receive()), role) == []
            assert viewer.document == (await house.get("api/v1/fleet"))[1]
            assert viewer.document["web"]["role"] == role


@pytest.mark.parametrize("role", ROLES)
async def test_every_response_of_the_api_is_redacted(role: Role) -> None:
    async with web_house(viewer_role=role) as house:
        await house.show(a=talkative_host())
        answers = [
            await house.get(path)
            for path in ("api/v1/fleet", "api/v1/hosts/a", "api/v1/free", "api/v1/users", "readyz")
        ]
        assert leaks(json.dumps(answers), role) == []
        status, users = answers[3]
        assert (status == 403) == (role == "counts")
        assert role == "counts" or users == {"alice": {"gpus": 1}}


async def test_host_choice_and_role_combine() -> None:
    async with web_house(viewer_role="names") as house:
        await house.show(a=talkative_host(), b=talkative_host())
        async with house.watch("ws?hosts=b") as socket:
            viewer = Follower(socket)
            await viewer.until(lambda document: "b" in document["hosts"])
            assert viewer.document["hosts"] == {"b": redact_host(talkative_host(), "names")}


def test_a_column_that_does_not_exist_cannot_be_hidden() -> None:
    with pytest.raises(ValueError, match="no column is named acts_as"):
        _without(PROCESS_COLUMNS, {"acts_as", "user"})
