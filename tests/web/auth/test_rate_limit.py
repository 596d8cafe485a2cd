"""How often an address may guess a password, and which address a request counts for."""

import pytest
from aiohttp.test_utils import make_mocked_request

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.rate_limit import GUESS_BURST, GuessLimiter

SECONDS_EACH = 6.0


@pytest.fixture
def limiter() -> GuessLimiter:
    return GuessLimiter(SECONDS_EACH)


def test_after_a_burst_of_wrong_guesses_each_further_one_must_wait(
    limiter: GuessLimiter,
) -> None:
    for _ in range(int(GUESS_BURST)):
        assert limiter.seconds_to_wait("a", 0.0) == 0
        limiter.count_guess("a", 0.0)
    assert limiter.seconds_to_wait("a", 0.0) == SECONDS_EACH
    assert limiter.seconds_to_wait("b", 0.0) == 0
    assert limiter.seconds_to_wait("a", SECONDS_EACH) == 0
    limiter.count_guess("a", SECONDS_EACH)
    assert limiter.seconds_to_wait("a", SECONDS_EACH) == SECONDS_EACH


def test_an_address_has_610_guesses_an_hour(limiter: GuessLimiter) -> None:
    made = 0
    for now in range(3600):
        while not limiter.seconds_to_wait("a", float(now)):
            limiter.count_guess("a", float(now))
            made += 1
    assert made == pytest.approx(GUESS_BURST + 3600 / SECONDS_EACH, abs=1)


def test_exhausting_the_burst_is_reported_once_until_it_has_recovered(
    limiter: GuessLimiter,
) -> None:
    reports = [limiter.count_guess("a", float(now)) for now in range(40)]
    assert reports.count(True) == 1
    recovered = 40 + GUESS_BURST * SECONDS_EACH
    assert [limiter.count_guess("a", recovered) for _ in range(12)].count(True) == 1


def test_a_correct_guess_is_not_counted(limiter: GuessLimiter) -> None:
    for _ in range(100):
        limiter.count_guess("a", 0.0)
        limiter.take_back("a", 0.0)
    assert limiter.seconds_to_wait("a", 0.0) == 0


def test_an_ipv6_network_of_64_bits_counts_as_one_address(limiter: GuessLimiter) -> None:
    for number in range(int(GUESS_BURST)):
        limiter.count_guess(f"2001:db8::{number:x}", 0.0)
    assert limiter.seconds_to_wait("2001:db8::ffff", 0.0) > 0
    assert limiter.seconds_to_wait("2001:db8:0:1::1", 0.0) == 0


def test_the_number_of_remembered_addresses_is_limited() -> None:
    limiter = GuessLimiter(SECONDS_EACH, max_addresses=10)
    for number in range(1000):
        limiter.count_guess(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(limiter) == 10


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
def test_only_trusted_proxies_are_believed_about_addresses(
    peer: str, forwarded: str, address: str
) -> None:
    proxies = TrustedProxies(["127.0.0.1", "::1", "10.0.0.0/8"])
    received = request(peer, **({"X_Forwarded_For": forwarded} if forwarded else {}))
    assert proxies.client_address(received) == address  # type: ignore[arg-type]  # made by hand


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
def test_only_trusted_proxies_are_believed_about_encryption(
    peer: str, proto: str, https: bool
) -> None:
    proxies = TrustedProxies(["127.0.0.1"])
    assert proxies.is_https(request(peer, X_Forwarded_Proto=proto)) is https  # type: ignore[arg-type]  # made by hand


def test_without_trusted_proxies_no_header_is_believed() -> None:
    proxies = TrustedProxies([])
    received = request("127.0.0.1", X_Forwarded_For="198.51.100.7", X_Forwarded_Proto="https")
    assert proxies.client_address(received) == "127.0.0.1"  # type: ignore[arg-type]  # made by hand
    assert not proxies.is_https(received) and not proxies.forwarded(received)  # type: ignore[arg-type]  # made by hand
