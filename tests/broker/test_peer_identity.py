"""broker.peer_identity: which host a peer is, by address and by key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.broker.peer_identity import (
    Directory,
    address_of,
    key_of,
    plain_address,
)
from gpu_monitor.wire.curve.server import peer_with_key

NO_NAME = "no..name"
"""Not a name, so that no name server is queried, which might be slow."""


def directory(*hosts: str, own_name: str = "", **known: list[str]) -> Directory:
    """A directory of `hosts`; `known` is what each name resolves to, `own` this machine's."""
    result = Directory(hosts, own_name)
    result.learn_own(known.pop("own", []))
    for host, addresses in known.items():
        result.learn(host, addresses)
    return result


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("node1", None),
        ("", None),
    ],
)
def test_an_address_has_one_usual_form(text: str, plain: str | None) -> None:
    assert plain_address(text) == plain


def test_a_host_is_identified_by_its_address_and_not_by_the_name_it_sends() -> None:
    known = directory("node1", "node2", node1=["10.0.0.1"], node2=["10.0.0.2"])
    assert known.host_of("10.0.0.1", "node2") == "node1"


def test_every_address_of_a_name_identifies_it() -> None:
    known = directory("node1", node1=["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.9"])
    peers = ("10.0.0.1", "2001:db8::1", "10.0.0.9", "::ffff:10.0.0.1")
    assert {known.host_of(peer, "x") for peer in peers} == {"node1"}


def test_an_entry_may_be_an_address() -> None:
    known = directory("10.0.0.1", "2001:DB8::1")
    assert known.host_of("10.0.0.1", "node1") == "10.0.0.1"
    assert known.host_of("2001:db8::1", "node1") == "2001:DB8::1"
    assert known.names == ()


def test_where_entries_share_an_address_the_name_that_is_sent_decides() -> None:
    known = directory("a", "b", a=["10.0.0.1"], b=["10.0.0.1"])
    assert [known.host_of("10.0.0.1", sent) for sent in ("a", "b", "c")] == ["a", "b", "a"]


def test_an_address_that_is_not_listed_may_not_report() -> None:
    known = directory("node1", node1=["10.0.0.1"])
    assert known.host_of("10.0.0.3", "node1") is None
    assert known.host_of("127.0.0.1", "node1") is None


def test_with_an_empty_list_only_loopback_reports_each_under_its_own_name() -> None:
    known = directory(own=["10.0.0.5"])
    assert known.host_of("127.0.0.1", "any") == "any"
    assert known.host_of("::1", "any") == "any"
    assert known.host_of("10.0.0.5", "any") is None


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.0.0.5"])
@pytest.mark.parametrize("entry", ["10.0.0.5", "127.0.1.1", "127.0.0.1"])
def test_loopback_and_every_own_address_are_the_same_machine(peer: str, entry: str) -> None:
    known = directory("me", "other", own=["10.0.0.5"], me=[entry], other=["10.0.0.6"])
    assert known.host_of(peer, "whatever") == "me"


def test_a_peer_inside_the_process_is_this_machine_and_always_accepted() -> None:
    assert directory().own_name("sent") == "sent"
    assert directory("me", own=["10.0.0.5"], me=["10.0.0.5"]).own_name("sent") == "me"
    assert directory("far", own_name="mine", far=["10.0.0.6"]).own_name("sent") == "mine"
    assert directory("far", far=["10.0.0.6"]).own_name("sent") == "sent"


def test_the_last_good_answer_is_kept() -> None:
    known = directory("node1", node1=["10.0.0.1"])
    known.learn("node1", [])
    assert known.host_of("10.0.0.1", "x") == "node1"


def test_a_host_that_moved_may_report_only_from_its_new_address() -> None:
    known = directory("node1", node1=["10.0.0.1"])
    assert known.host_of("10.0.0.2", "node1") is None
    known.learn("node1", ["10.0.0.2"])
    assert known.host_of("10.0.0.2", "node1") == "node1"
    assert known.host_of("10.0.0.1", "node1") is None


@given(st.text())
def test_no_peer_address_is_an_error(peer: str) -> None:
    assert directory("node1", node1=["10.0.0.1"]).host_of(peer, "node1") in (None, "node1")


def test_with_keys_a_host_is_identified_by_its_key_whatever_its_address() -> None:
    known = directory("node1", node1=["10.0.0.1"])
    issued: dict[str, str] = {"KEY1": "gpu1", "KEY2": "gpu2"}
    known.use_keys(issued.get)
    assert known.host_of(peer_with_key("10.0.0.1", "KEY1"), "node1") == "gpu1"
    assert known.host_of(peer_with_key("10.0.0.1", "KEY2"), "gpu1") == "gpu2"
    assert known.host_of(peer_with_key("127.0.0.1", "KEY3"), "node1") is None
    assert known.host_of("10.0.0.1", "node1") is None
    del issued["KEY1"]
    known.forget_peers()
    assert known.host_of(peer_with_key("10.0.0.1", "KEY1"), "node1") is None


def test_a_peer_s_address_and_key_can_be_separated() -> None:
    peer = peer_with_key("fe80::1%eth0", "a key")
    assert (address_of(peer), key_of(peer)) == ("fe80::1%eth0", "a key")
    assert (address_of("this process"), key_of("10.0.0.1")) == ("this process", "")
