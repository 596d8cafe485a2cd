"""How many connections there may be: in all, from one address, through trusted proxies.

Threat: a client opens connections, sends nothing and so keeps everyone else out. One address gets
half of the places at most. All viewers behind a proxy share its address, so trusted proxies have
no limit of their own, but neither they nor the others can take the last tenth of the places.
"""

from collections import Counter

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.rate_limit import household


class Places:
    """The connections that are open, by address; IPv6 addresses by network."""

    def __init__(self, total: int, proxies: TrustedProxies) -> None:
        self.total = total
        self._per_address = max(1, total // 2)
        self._per_side = max(1, total - total // 10)
        self._proxies = proxies
        self._by_address: Counter[str] = Counter()
        self._by_side: Counter[bool] = Counter()

    def __len__(self) -> int:
        return self._by_side.total()

    @property
    def is_full(self) -> bool:
        """Whether no one may connect."""
        return len(self) >= self.total

    def occupy(self, address: str) -> str:
        """Take a place; why not, if there is none for this address."""
        by_proxy, key = self._proxies.trusts(address), household(address)
        if self._by_side[by_proxy] >= self._per_side:
            whose = "trusted proxies" if by_proxy else "clients without a proxy"
            return f"{whose} have {self._per_side} connections already"
        if not by_proxy and self._by_address[key] >= self._per_address:
            hint = "if it is a proxy, add it to trusted_proxies"
            return f"{key} has {self._per_address} connections already; {hint}"
        self._by_side[by_proxy] += 1
        self._by_address[key] += 1
        return ""

    def vacate(self, address: str) -> None:
        """Give back a place that this address has occupied."""
        key = household(address)
        self._by_side[self._proxies.trusts(address)] -= 1
        self._by_address[key] -= 1
        if not self._by_address[key]:
            del self._by_address[key]
