"""A limit on how often an address may guess a secret.

Threat: guessing tokens and passwords online, and exhausting the CPU with password hashes. Each
address has 10 wrong guesses, then one more every 6 s. Behind a proxy the viewers' own addresses
count only if the operator lists the proxy in `trusted_proxies`; otherwise all of them share one
budget, and one attacker locks out the others.
"""

import ipaddress
from collections import OrderedDict

GUESS_BURST = 10.0
MAX_ADDRESSES = 10_000
"""Beyond this, the address whose last wrong guess is oldest is forgotten."""
_IPV6_PREFIX_BITS = 64
"""What one household or machine usually has to itself."""


class GuessLimiter:
    """Counts wrong guesses by address; times are seconds of one monotonic clock.

    After a burst of wrong guesses, an address may make another every `seconds_per_guess`.
    """

    def __init__(self, seconds_per_guess: float, max_addresses: int = MAX_ADDRESSES) -> None:
        self._seconds_per_guess = seconds_per_guess
        self._max_addresses = max_addresses
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._exhausted: set[str] = set()

    def __len__(self) -> int:
        return len(self._left)

    def seconds_to_wait(self, address: str, now: float) -> float:
        """How long until the address may guess again; 0 if it may now."""
        left = self._guesses_left(household(address), now)
        return 0.0 if left >= 1 else (1 - left) * self._seconds_per_guess

    def count_guess(self, address: str, now: float) -> bool:
        """A guess that is wrong, or may be. True if it exhausts a full budget."""
        key = household(address)
        before = self._guesses_left(key, now)
        if before >= GUESS_BURST:
            self._exhausted.discard(key)
        left = max(0.0, before - 1)
        self._set(key, left, now)
        newly_exhausted = left < 1 and key not in self._exhausted
        if newly_exhausted:
            self._exhausted.add(key)
        return newly_exhausted

    def take_back(self, address: str, now: float) -> None:
        """The last guess turned out to be right."""
        key = household(address)
        self._set(key, min(GUESS_BURST, self._guesses_left(key, now) + 1), now)

    def _set(self, key: str, left: float, now: float) -> None:
        self._left[key] = (left, now)
        self._left.move_to_end(key)
        if len(self._left) > self._max_addresses:
            self._exhausted.discard(self._left.popitem(last=False)[0])

    def _guesses_left(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (GUESS_BURST, now))
        return min(GUESS_BURST, left + (now - at) / self._seconds_per_guess)


def household(address: str) -> str:
    """The address; for IPv6 the network from which one machine can choose its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_PREFIX_BITS), strict=False))
