"""How many connections there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.places import Places

PROXIES = TrustedProxies(["127.0.0.1", "10.9.0.0/16"])


def occupy_all(places: Places, address: str) -> int:
    """How many places this address gets."""
    for taken in range(places.total + 1):
        if places.occupy(address):
            return taken
    raise AssertionError("no limit")


def test_an_address_gets_half_of_the_places() -> None:
    places = Places(100, PROXIES)
    assert occupy_all(places, "192.0.2.1") == 50
    assert "add it to trusted_proxies" in places.occupy("192.0.2.1")
    assert places.occupy("192.0.2.2") == ""


@pytest.mark.parametrize("spelling", ["2001:db8::%d", "2001:db8:0:0:%d::1"])
def test_a_household_s_ipv6_addresses_count_as_one(spelling: str) -> None:
    places = Places(100, PROXIES)
    refused = [bool(places.occupy(spelling % number)) for number in range(1, 100)]
    assert refused == [False] * 50 + [True] * 49


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::ffff:127.0.0.1", "10.9.1.2"])
def test_a_proxy_carries_the_viewers_of_many_and_leaves_a_tenth_to_others(proxy: str) -> None:
    places = Places(100, PROXIES)
    assert occupy_all(places, proxy) == 90
    assert not places.is_full
    assert places.occupy("192.0.2.1") == ""


def test_strangers_leave_a_tenth_to_the_proxy() -> None:
    places = Places(100, PROXIES)
    assert occupy_all(places, "192.0.2.1") + occupy_all(places, "192.0.2.2") == 90
    assert not places.is_full
    assert places.occupy("127.0.0.1") == ""


def test_a_place_that_is_given_back_can_be_taken_again() -> None:
    places = Places(4, PROXIES)
    assert occupy_all(places, "192.0.2.1") == 2
    places.vacate("192.0.2.1")
    assert places.occupy("192.0.2.1") == ""


addresses = st.sampled_from(["192.0.2.1", "192.0.2.2", "127.0.0.1", "10.9.0.1", "2001:db8::1"])


@given(st.integers(1, 12), st.lists(st.tuples(st.booleans(), addresses), max_size=80))
def test_places_never_count_more_than_are_open(total: int, steps: list[tuple[bool, str]]) -> None:
    places, open_ = Places(total, PROXIES), list[str]()
    for comes, address in steps:
        if comes and not places.is_full and not places.occupy(address):
            open_.append(address)
        elif not comes and address in open_:
            open_.remove(address)
            places.vacate(address)
        assert len(places) == len(open_) <= total
    for address in open_:
        places.vacate(address)
    assert len(places) == 0
