"""How often an address may be wrong, and whose address it is."""

import pytest
from aiohttp.test_utils import make_mocked_request

from gpu_monitor.web.auth import rate_limit
from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.auth.rate_limit import AT_ONCE, SECONDS_EACH, Guesses


def test_a_few_wrong_guesses_are_free_and_then_each_takes_its_time() -> None:
    book = Guesses()
    for _ in range(int(AT_ONCE)):
        assert book.seconds_to_wait("a", 0.0) == 0
        book.wrong("a", 0.0)
    assert book.seconds_to_wait("a", 0.0) == SECONDS_EACH
    assert book.seconds_to_wait("b", 0.0) == 0
    assert book.seconds_to_wait("a", SECONDS_EACH) == 0
    book.wrong("a", SECONDS_EACH)
    assert book.seconds_to_wait("a", SECONDS_EACH) == SECONDS_EACH


def test_in_an_hour_an_address_has_six_hundred_and_ten_guesses() -> None:
    book, made = Guesses(), 0
    for now in range(3600):
        while not book.seconds_to_wait("a", float(now)):
            book.wrong("a", float(now))
            made += 1
    assert made == pytest.approx(AT_ONCE + 3600 / SECONDS_EACH, abs=1)


def test_that_an_address_is_slowed_is_news_once_until_it_has_rested() -> None:
    book = Guesses()
    news = [book.wrong("a", float(now)) for now in range(40)]
    assert news.count(True) == 1
    rested = 40 + AT_ONCE * SECONDS_EACH
    assert [book.wrong("a", rested) for _ in range(12)].count(True) == 1


def test_a_guess_that_was_right_is_taken_back() -> None:
    book = Guesses()
    for _ in range(100):
        book.wrong("a", 0.0)
        book.wrong("a", 0.0, -1)
    assert book.seconds_to_wait("a", 0.0) == 0


def test_an_ipv6_household_counts_as_one() -> None:
    book = Guesses()
    for number in range(int(AT_ONCE)):
        book.wrong(f"2001:db8::{number:x}", 0.0)
    assert book.seconds_to_wait("2001:db8::ffff", 0.0) > 0
    assert book.seconds_to_wait("2001:db8:0:1::1", 0.0) == 0


def test_however_many_addresses_guess_only_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_ADDRESSES", 10)
    book = Guesses()
    for number in range(1000):
        book.wrong(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(book) == 10


def request(peer: str, **headers: str) -> object:
    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return (peer, 1234) if name == "peername" else default

        def is_closing(self) -> bool:
            return False

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/", headers=named, transport=Transport())


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.1.2.3, 10.1.2.4", "10.1.2.3"),
        ("198.51.100.1", "198.51.100.7", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "rubbish", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", ", ,", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1," * 500, "127.0.0.1"),
    ],
)
def test_an_address_is_believed_of_trusted_proxies_alone(
    peer: str, forwarded: str, address: str
) -> None:
    peers = Peers(["127.0.0.1", "::1", "10.0.0.0/8"])
    asked = request(peer, **({"X_Forwarded_For": forwarded} if forwarded else {}))
    assert peers.address(asked) == address  # type: ignore[arg-type]  # made by hand


@pytest.mark.parametrize(
    ("peer", "proto", "https"),
    [
        ("127.0.0.1", "https", True),
        ("127.0.0.1", "HTTPS, http", True),
        ("127.0.0.1", "http", False),
        ("127.0.0.1", "", False),
        ("198.51.100.1", "https", False),
    ],
)
def test_encryption_is_believed_of_trusted_proxies_alone(
    peer: str, proto: str, https: bool
) -> None:
    peers = Peers(["127.0.0.1"])
    assert peers.is_https(request(peer, X_Forwarded_Proto=proto)) is https  # type: ignore[arg-type]  # made by hand


def test_without_trusted_proxies_nobody_is_believed() -> None:
    peers = Peers([])
    asked = request("127.0.0.1", X_Forwarded_For="198.51.100.7", X_Forwarded_Proto="https")
    assert peers.address(asked) == "127.0.0.1"  # type: ignore[arg-type]  # made by hand
    assert not peers.is_https(asked) and not peers.is_proxy(asked)  # type: ignore[arg-type]  # made by hand
