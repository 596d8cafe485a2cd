"""The finder: which hosts are offered, in which order, with which GPUs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.api.free_gpus import Wanted, find_offers, free_gpus
from tests.support.house import ROOT
from tests.support.web_house import make_host

VECTORS = json.loads((ROOT / "tests" / "free_vectors.json").read_text())


def names(hosts: dict[str, Any], wanted: Wanted) -> list[str]:
    return [offer.host for offer in find_offers(hosts, wanted)]


def test_hosts_with_fewest_gpus_left_over_come_first_then_by_name() -> None:
    hosts = {"c": make_host(8), "b": make_host(2, 6), "a": make_host(8), "d": make_host(4, 4)}
    assert names(hosts, Wanted(2)) == ["b", "d", "a", "c"]


def test_a_host_with_too_few_gpus_is_not_offered() -> None:
    assert names({"a": make_host(1, 7)}, Wanted(2)) == []


def test_only_live_hosts_are_offered() -> None:
    states = ("stale", "missing", "conflict")
    hosts: dict[str, Any] = {state: make_host(8, state=state) for state in states}
    hosts["bare"] = {"state": "missing"}
    assert names(hosts, Wanted(1)) == []


def test_only_gpus_that_the_broker_calls_free_count() -> None:
    host = make_host(3)
    host["gpus"]["use"] = ["held_idle", None, "free"]
    (offer,) = find_offers({"a": host}, Wanted(1))
    assert [gpu.index for gpu in offer.gpus] == [2]
    assert offer.left_over == 0


def test_memory_means_free_memory_of_each_gpu() -> None:
    host = make_host(2)
    host["gpus"]["memory_used_mib"] = [41 * 1024, 40 * 1024]
    (offer,) = find_offers({"a": host}, Wanted(1, memory_gib=40))
    assert [gpu.index for gpu in offer.gpus] == [1]
    assert names({"a": host}, Wanted(1, memory_gib=40.5)) == []


def test_unknown_memory_is_never_enough() -> None:
    host = make_host(1)
    host["gpus"]["memory_used_mib"] = [None]
    assert names({"a": host}, Wanted(1, memory_gib=1)) == []
    assert names({"a": host}, Wanted(1)) == ["a"]


def test_the_model_matches_part_of_the_name_ignoring_case() -> None:
    hosts = {"a": make_host(1, model="NVIDIA A100-SXM4"), "h": make_host(1, model="NVIDIA H100")}
    assert names(hosts, Wanted(1, model="h100")) == ["h"]
    assert names(hosts, Wanted(1, model="B200")) == []


def test_the_tightest_gpus_are_offered_ordered_by_index() -> None:
    host = make_host(4)
    host["gpus"]["memory_total_mib"] = [80000, 20000, 40000, 20000]
    (offer,) = find_offers({"a": host}, Wanted(2))
    assert offer.devices == "GPU-1,GPU-3"


def test_a_gpu_without_a_uuid_is_named_by_its_index() -> None:
    host = make_host(1)
    del host["gpus"]["uuid"]
    assert find_offers({"a": host}, Wanted(1))[0].devices == "0"


@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(0, 8), max_size=6),
    st.integers(1, 8),
)
def test_exactly_the_hosts_with_enough_gpus_are_offered_once(
    hosts: dict[str, int], wanted: int
) -> None:
    document = {name: make_host(free, 8 - free) for name, free in hosts.items()}
    offers = find_offers(document, Wanted(wanted))
    assert {offer.host for offer in offers} == {n for n, free in hosts.items() if free >= wanted}
    assert len(offers) == len({offer.host for offer in offers})
    for offer in offers:
        assert set(offer.gpus) <= set(free_gpus(document[offer.host]["gpus"]))
        assert len(offer.gpus) == wanted


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_the_vectors_shared_with_the_page_hold(vector: dict[str, Any]) -> None:
    offers = find_offers(vector["hosts"], Wanted(**vector["wanted"]))
    assert [
        {"host": offer.host, "devices": offer.devices, "left_over": offer.left_over}
        for offer in offers
    ] == vector["offers"]
