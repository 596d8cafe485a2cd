"""How often an address may be wrong about a secret: a few times at once, then now and then."""

import ipaddress
from collections import OrderedDict

AT_ONCE = 10.0
SECONDS_EACH = 6.0
"""After so many wrong ones at once, one more each time this has passed."""
MAX_ADDRESSES = 10_000
"""Beyond it the one that was not wrong for the longest time is forgotten."""
_IPV6_BITS = 64
"""What one household or machine usually has for itself."""


class Guesses:
    """Counts wrong guesses; times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._told: set[str] = set()

    def seconds_to_wait(self, address: str, now: float) -> float:
        """0 when another guess may be made; else how long until then."""
        left = self._count(_household(address), now)
        return 0.0 if left >= 1 else (1 - left) * SECONDS_EACH

    def wrong(self, address: str, now: float, guesses: int = 1) -> bool:
        """A guess was wrong, or may turn out to be; -1 takes one back.

        True when none is left, for the first time since all were.
        """
        key = _household(address)
        before = self._count(key, now)
        if before >= AT_ONCE:
            self._told.discard(key)
        left = min(AT_ONCE, max(0.0, before - guesses))
        self._left[key] = (left, now)
        self._left.move_to_end(key)
        if len(self._left) > MAX_ADDRESSES:
            self._told.discard(self._left.popitem(last=False)[0])
        is_news = left < 1 and key not in self._told
        if is_news:
            self._told.add(key)
        return is_news

    def __len__(self) -> int:
        return len(self._left)

    def _count(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (AT_ONCE, now))
        return min(AT_ONCE, left + (now - at) / SECONDS_EACH)


def _household(address: str) -> str:
    """The address, or for IPv6 the network that one machine can choose its addresses from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_BITS), strict=False))
