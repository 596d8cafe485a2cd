"""The document as metrics: known values of live hosts, in base units."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpu_monitor.broker.host_count import count
from gpu_monitor.broker.load_stats import Load
from gpu_monitor.broker.seats import seats
from gpu_monitor.broker.totals import Totals
from gpu_monitor.web.api.exposition import OPENMETRICS, TEXT, render
from gpu_monitor.web.api.metric_names import (
    COLLECTOR_METRICS,
    DISK_METRICS,
    GPU_COUNTERS,
    GPU_METRICS,
    LOAD_COUNTERS,
    LOAD_METRICS,
    SYSTEM_METRICS,
    TOTAL_METRICS,
    USER_METRICS,
)
from gpu_monitor.web.api.metrics import fleet_metrics, viewer_metrics
from gpu_monitor.wire.document import (
    COLLECTOR_FIELDS,
    DISK_COLUMNS,
    FINDING_KINDS,
    GPU_COLUMNS,
    SEVERITIES,
    SYSTEM_FIELDS,
    TABLES,
    Kind,
    Table,
)
from tests.support.house import ROOT, House
from tests.support.snapshots import make_findings
from tests.support.web_house import PATIENCE_SECONDS, make_fleet, make_host, web_house
from tests.web.auth.test_redaction import talkative_host

NUMBERS = (Kind.COUNT, Kind.NUMBER)
NO_METRIC = {"index", "state_since"}
"""Numbers that identify a GPU, or that follow from the history of its state."""
LABELS = {
    *("host", "gpu", "uuid", "model", "mount", "user", "state", "use", "reason", "part"),
    *("kind", "severity", "version", "hostname", "os", "kernel", "driver_version", "cuda_version"),
}


def fleet(**hosts: Any) -> dict[str, Any]:
    return {**make_fleet(**hosts), "web": {"version": "0.1.0", "assets": "x", "role": "commands"}}


def gpu(**columns: Any) -> dict[str, Any]:
    """A live host with one GPU that has only these columns."""
    own = {"index": [0], "uuid": ["GPU-a"], "name": ["H100"], "state": ["ok"]}
    return {"state": "live", "gpus": {**own, **{k: [v] for k, v in columns.items()}}}


def read(text: str) -> dict[str, dict[str, float]]:
    """Values by name, without the prefix, and by labels."""
    found: dict[str, dict[str, float]] = {}
    for family in read_text(text):
        for name, own, value, *_ in family.samples:
            written = ",".join(f"{label}={text}" for label, text in own.items())
            found.setdefault(name.removeprefix("gpu_monitor_"), {})[written] = value
    return found


def exposed(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    return read(render(fleet_metrics(document), openmetrics=False).decode())


A = "host=a,gpu=0,uuid=GPU-a,model=H100"


@pytest.mark.parametrize(
    ("column", "value", "name", "expected"),
    [
        ("memory_used_mib", 3, "gpu_memory_used_bytes", 3 * 1024**2),
        ("utilization_percent", 87, "gpu_utilization_ratio", 0.87),
        ("temperature_celsius", 41, "gpu_temperature_celsius", 41),
        ("power_watts", 250, "gpu_power_watts", 250),
        ("sm_clock_mhz", 1980, "gpu_sm_clock_hertz", 1_980_000_000),
        ("idle_since", 1763910000, "gpu_idle_since_timestamp_seconds", 1763910000),
    ],
)
def test_a_number_is_exposed_in_base_units(
    column: str, value: int, name: str, expected: float
) -> None:
    assert exposed(fleet(a=gpu(**{column: value})))[name] == {A: expected}


def test_energy_is_a_counter() -> None:
    document = fleet(a=gpu(energy_joules=3_600_000))
    text = render(fleet_metrics(document), openmetrics=False).decode()

    assert read(text)["gpu_energy_joules_total"] == {A: 3_600_000}
    assert "# TYPE gpu_monitor_gpu_energy_joules_total counter" in text


def test_zero_is_exposed_and_unknown_values_are_omitted() -> None:
    known = exposed(fleet(a=gpu(utilization_percent=0, power_watts=None)))
    assert known["gpu_utilization_ratio"] == {A: 0}
    assert "gpu_power_watts" not in known and "gpu_fan_ratio" not in known
    assert "host_cpu_ratio" not in known


def test_a_gpu_without_a_uuid_has_no_uuid_label() -> None:
    assert exposed(fleet(a=gpu(uuid=None, power_watts=1)))["gpu_power_watts"] == {
        "host=a,gpu=0,model=H100": 1
    }


def test_the_current_state_is_one_and_the_others_are_zero() -> None:
    known = exposed(fleet(a=gpu(state="error", use=None), b=gpu(use="free")))
    states = {own.rpartition("state=")[2]: n for own, n in known["gpu_state"].items() if A in own}
    assert states == {"ok": 0, "lost": 0, "asleep": 0, "error": 1}
    known = exposed(fleet(a=gpu(health="degraded")))
    healths = {own.rpartition("state=")[2]: n for own, n in known["gpu_health"].items()}
    assert healths == {"ok": 0, "degraded": 1, "failed": 0}
    known = exposed(fleet(a=gpu(state="error", use=None), b=gpu(use="free")))
    uses = {own.rpartition("use=")[2]: value for own, value in known["gpu_use"].items()}
    assert uses == {"busy": 0, "free": 1, "held_idle": 0}


def test_a_lost_gpu_has_only_a_state() -> None:
    known = exposed(fleet(a=gpu(state="lost", memory_total_mib=81920, power_watts=0)))
    assert known["gpu_state"][f"{A},state=lost"] == 1
    assert [name for name in known if name.startswith("gpu_")] == ["gpu_state"]


def test_a_lost_gpu_has_a_health_too() -> None:
    known = exposed(fleet(a=gpu(state="lost", health="failed", power_watts=0)))
    assert known["gpu_health"][f"{A},state=failed"] == 1 and "gpu_power_watts" not in known


def test_findings_are_counted_by_kind_and_severity() -> None:
    severities = ["critical", "warning", "warning", "info"]
    findings = make_findings("xid", "xid", "xid", "no_pids", severity=severities)
    known = exposed(fleet(a=make_host(findings=findings), b=make_host(), c={"state": "live"}))
    assert known["host_findings"] == {
        "host=a,kind=xid,severity=critical": 1,
        "host=a,kind=xid,severity=warning": 2,
        "host=a,kind=no_pids,severity=info": 1,
    }


def test_a_host_without_findings_has_no_count_of_them() -> None:
    assert "host_findings" not in exposed(fleet(a=make_host()))


kinds = st.sampled_from([*sorted(FINDING_KINDS), "of a newer collector", 'q"u\\o\nte'])
found = st.lists(st.tuples(kinds, st.sampled_from(SEVERITIES)), max_size=20)


@given(st.dictionaries(st.sampled_from("abc"), found))
def test_the_counts_of_findings_add_up_to_the_rows(hosts: dict[str, Any]) -> None:
    tables = {
        name: make_findings(*(kind for kind, _ in rows), severity=[worst for _, worst in rows])
        for name, rows in hosts.items()
    }
    document = fleet(**{name: make_host(findings=table) for name, table in tables.items()})
    families = read_text(render(fleet_metrics(document), openmetrics=False).decode())
    samples = [s for f in families for s in f.samples if s.name == "gpu_monitor_host_findings"]
    assert sum(s.value for s in samples) == sum(map(len, hosts.values()))
    for sample in samples:
        own = sample.labels
        assert hosts[own["host"]].count((own["kind"], own["severity"])) == sample.value > 0


def test_slices_go_by_the_index_that_the_page_and_nvidia_smi_show() -> None:
    columns = {
        "index": [0, 7, 0, 2],
        "parent": [None, None, 1, 1],
        "uuid": ["GPU-a", "GPU-b", "MIG-a", "MIG-b"],
        "name": ["A100"] * 4,
        "state": ["ok"] * 4,
        "memory_used_mib": [0] * 4,
    }
    known = exposed(fleet(a={"state": "live", "gpus": columns}))["gpu_memory_used_bytes"]
    assert [own.split(",")[1] for own in known] == ["gpu=0", "gpu=7", "gpu=7.0", "gpu=7.2"]


@pytest.mark.parametrize("state", ["stale", "missing", "conflict"])
def test_a_host_that_is_not_live_is_not_up_and_has_no_values(state: str) -> None:
    known = exposed(fleet(a={**talkative_host(), "state": state}, b=make_host()))
    assert known["host_up"] == {"host=a": 0, "host=b": 1}
    states = {own: value for own, value in known["host_state"].items() if "host=a" in own}
    assert [own for own, value in states.items() if value] == [f"host=a,state={state}"]
    assert len(states) == 4
    others = [own for name, values in known.items() if name != "host_state" for own in values]
    assert [own for own in others if "host=a" in own] == ["host=a"]


def test_while_the_broker_is_lost_nothing_is_up_or_has_values() -> None:
    lost = {**fleet(a=talkative_host(), b={"state": "missing"})}
    lost["broker"] = {**lost["broker"], "state": "lost", "refused": {"old": 1}}
    known = exposed(lost)
    assert known.keys() == {"build_info", "web_warnings", "broker_up", "host_up", "host_state"}
    assert known["broker_up"] == {"": 0}
    assert known["host_up"] == {"host=a": 0, "host=b": 0}
    assert known["host_state"]["host=a,state=stale"] == 1
    assert known["host_state"]["host=b,state=missing"] == 1


def test_messages_refused_by_the_broker_are_exposed() -> None:
    document = fleet()
    document["broker"] |= {"refused": {"unknown key": 4, "old": 0}, "warnings": ["w"]}
    known = exposed(document)
    refused = {"reason=unknown key": 4, "reason=old": 0}
    assert known["broker_refused_messages_total"] == refused
    assert (known["broker_warnings"], known["broker_up"]) == ({"": 1}, {"": 1})


def test_the_load_of_the_broker_is_exposed() -> None:
    document = fleet()
    load = {"messages": 9, "overtaken_messages": 2, "waiting_messages": 0}
    document["broker"] |= {"load": {**load, "tick_late_seconds": 0.25}}
    known = exposed(document)
    assert known["broker_messages_total"] == {"": 9}
    assert known["broker_overtaken_messages_total"] == {"": 2}
    assert known["broker_waiting_messages"] == {"": 0}
    assert known["broker_tick_late_seconds"] == {"": 0.25}


def test_warnings_of_the_web_server_are_exposed_even_without_a_broker() -> None:
    document = fleet()
    document["web"] |= {"warnings": ["w", "x"]}
    assert exposed(document)["web_warnings"] == {"": 2}
    document["broker"] |= {"state": "lost"}
    assert exposed(document)["web_warnings"] == {"": 2}


def test_users_have_totals_of_their_own() -> None:
    document = fleet()
    document["users"] = {"al\nice": {"gpus": 2, "gpu_memory_mib": 1, "hosts": ["a", "b"]}}
    known = exposed(document)
    assert known["user_gpus"] == {"user=al\nice": 2}
    assert known["user_gpu_memory_bytes"] == {"user=al\nice": 1024**2}
    assert known["user_hosts"] == {"user=al\nice": 2}
    assert "user_processes" not in known


def test_neither_processes_nor_unknown_members_become_labels() -> None:
    document = fleet(a=talkative_host())
    families = list(read_text(render(fleet_metrics(document), openmetrics=False).decode()))
    assert {label for family in families for s in family.samples for label in s.labels} <= LABELS
    assert not any("SECRET-command" in str(family.samples) for family in families)


def test_a_row_sent_twice_is_exposed_once() -> None:
    one = gpu(power_watts=1)["gpus"]
    twice = {name: column * 2 for name, column in one.items()}
    assert exposed(fleet(a={"state": "live", "gpus": twice}))["gpu_power_watts"] == {A: 1}


def test_every_number_on_the_wire_is_a_metric_or_a_known_exception() -> None:
    for measures, fields in (
        (SYSTEM_METRICS, SYSTEM_FIELDS),
        (COLLECTOR_METRICS, COLLECTOR_FIELDS),
        (DISK_METRICS, DISK_COLUMNS),
        (GPU_METRICS, GPU_COLUMNS),
    ):
        numbers = {field for field, kind in fields.items() if kind in NUMBERS}
        exposed_fields = {measure.field for measure in measures} | (GPU_COUNTERS.keys() & fields)
        assert exposed_fields == numbers - NO_METRIC


def test_every_total_and_every_number_of_a_user_is_a_metric() -> None:
    summed = ("memory_total_mib", "memory_used_mib", "power_watts", "utilization_percent")
    gpus: Table = {"state": ["ok"], **{column: [1] for column in summed}}
    columns = {"gpu": 0, "user": "alice", "gpu_memory_mib": 1, "started_at": 1, "type": "C"}
    processes = {name: [value] for name, value in columns.items()}
    totals = Totals()
    counted = count(gpus, processes, ["busy"], seats(gpus, processes))
    totals.replace("a", None, counted)
    user = totals.user("alice")
    assert user is not None
    assert {measure.field for measure in USER_METRICS} == user.keys() - {"hosts"}
    assert {measure.field for measure in TOTAL_METRICS} == totals.document({"live": 1}).keys()


def test_every_number_of_the_load_is_a_metric() -> None:
    fields = {measure.field for measure in LOAD_METRICS} | LOAD_COUNTERS.keys()
    assert fields == (Load().report(0.0) or {}).keys()


def everything() -> dict[str, Any]:
    """A document without unknown values."""

    def known(kinds: dict[str, Kind]) -> dict[str, Any]:
        return {name: "words" if kind is Kind.TEXT else 1 for name, kind in kinds.items()}

    tables = {
        name: {column: [value] for column, value in known(kinds).items()}
        for name, kinds in TABLES.items()
    }
    tables["gpus"] |= {"parent": [None], "use": ["free"]}
    parts = {"system": known(SYSTEM_FIELDS), "collector": known(COLLECTOR_FIELDS)}
    document = fleet(a={"state": "live", "clock_offset_seconds": 0, **tables, **parts})
    document["totals"] = {measure.field: 1 for measure in TOTAL_METRICS}
    document["users"] = {"alice": {measure.field: 1 for measure in USER_METRICS} | {"hosts": ["a"]}}
    document["broker"] |= {"refused": {"old": 1}, "load": Load().report(0.0)}
    return document


def test_the_protocol_page_lists_every_metric_and_the_alert_rules_use_no_other() -> None:
    own = viewer_metrics(1, {"slow": 1}, 1, 0, {"late": 1})
    beside = read(render(own, openmetrics=False).decode())
    known = {f"gpu_monitor_{name}" for name in {**exposed(everything()), **beside}}
    page = (ROOT / "docs" / "protocol.md").read_text()
    section = page[page.index("\n## Metrics") : page.index("\n## Signing in")]
    assert set(re.findall(r"`(gpu_monitor_[a-z0-9_]+)`", section)) == known
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page[page.index("\n## Prometheus") : page.index("\n## Backup")]
    named = set(re.findall(r"\bgpu_monitor_[a-z0-9_]+", section))
    assert named and named <= known


ROLES = ("counts", "names", "commands")


@pytest.mark.parametrize("role", ROLES)
async def test_metrics_are_redacted_by_role(role: Any) -> None:
    async with web_house(viewer_role=role) as house:
        await house.show(a=talkative_host())
        async with house.client.get(house.root + "metrics") as answer:
            text = await answer.text()
    assert ("alice" in text) == (role != "counts")
    assert ("/home/SECRET-user" in text) == (role != "counts")
    assert not any(secret in text for secret in ("SECRET-command", "SECRET-unknown", "4343434343"))
    assert read(text)["host_findings"] == {"host=a,kind=memory_held,severity=warning": 1}


@pytest.mark.parametrize(
    ("accept", "kind", "ending"),
    [("*/*", TEXT, ""), ("application/openmetrics-text; version=1.0.0", OPENMETRICS, "# EOF\n")],
)
async def test_metrics_have_the_requested_format_and_must_not_be_cached(
    accept: str, kind: str, ending: str
) -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        headers = {"Accept": accept}
        async with house.client.get(house.root + "metrics", headers=headers) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Cache-Control"] == "no-store"
            assert (await answer.text()).endswith(ending)


async def test_metrics_are_compressed_for_clients_that_accept_it() -> None:
    async with web_house() as house:
        await house.show(a=make_host(8))
        headers = {"Accept-Encoding": "gzip"}
        async with house.client.get(house.root + "metrics", headers=headers) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len(read(await answer.text())["gpu_memory_used_bytes"]) == 8


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0"])
async def test_metrics_count_viewers_even_without_a_broker(accept: str) -> None:
    async def viewer_count() -> float:
        headers = {"Accept": accept}
        async with house.client.get(house.root + "metrics", headers=headers) as answer:
            return read(await answer.text())["web_viewers"][""]

    async with web_house() as house:
        assert await viewer_count() == 0
        async with house.watch(), house.watch() as socket:
            await socket.receive(timeout=PATIENCE_SECONDS)
            assert await viewer_count() == 2


def test_cut_and_refused_viewers_are_counted() -> None:
    own = viewer_metrics(3, {"slow": 2, "silent": 0}, 1, 3, {"malformed": 4})
    known = read(render(own, openmetrics=False).decode())
    assert known == {
        "web_viewers": {"": 3},
        "web_cut_viewers_total": {"reason=slow": 2, "reason=silent": 0},
        "web_refused_viewers_total": {"": 1},
        "web_malformed_updates_total": {"": 3},
        "web_rejected_total": {"reason=malformed": 4},
    }


async def test_metrics_show_that_the_broker_never_connected() -> None:
    async with web_house() as house, house.client.get(house.root + "metrics") as answer:
        assert answer.status == 200
        assert read(await answer.text())["broker_up"] == {"": 0}


def test_metrics_follow_a_gpu_from_nvml_to_prometheus(house: House) -> None:
    house.start("up", name="node1", rpc_timeout=30)
    house.host("node1")
    known = read(house.text("metrics") or "")
    assert list(known["gpu_utilization_ratio"].values()) == [0.87, 0]
    assert known["fleet_gpus_busy"] == {"": 1} and known["host_up"] == {"host=node1": 1}
    assert sum(known["user_gpus"].values()) == 1
