"""The viewer's address and scheme, also behind proxies.

Threat: any client can send X-Forwarded-For and pose as another address, to evade the limit on
guesses or the limit on viewers; with `sign_in: proxy` it could pose as another user. So these
headers count only on connections from `trusted_proxies`. The operator lists exactly the proxies
there, and lets each of them set or append the headers instead of passing on what the client sent.
"""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from aiohttp import web

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_HOPS = 32


class TrustedProxies:
    """Reads X-Forwarded-For, -Proto and -Host from trusted proxies only."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]

    def forwarded(self, request: web.BaseRequest) -> bool:
        """Whether the connection comes from a trusted proxy."""
        return self.trusts(request.remote or "")

    def trusts(self, address: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        return self._trusts(_parse(address))

    def client_address(self, request: web.BaseRequest) -> str:
        """The viewer's address: going back hop by hop, the first that is no trusted proxy."""
        address = _parse(request.remote or "")
        if address is None:
            return request.remote or ""
        hops = [
            hop.strip()
            for header in request.headers.getall("X-Forwarded-For", [])
            for hop in header.split(",")
        ]
        for hop in reversed(hops[-_MAX_HOPS:]):
            previous = _parse(hop)
            if previous is None or not self._trusts(address):
                break
            address = previous
        return str(address)

    def is_https(self, request: web.BaseRequest) -> bool:
        """Whether the viewer's own connection is encrypted, according to a trusted proxy."""
        scheme = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
        return scheme.lower() == "https" and self.forwarded(request)

    def opened_hosts(self, request: web.BaseRequest) -> list[str]:
        """The Host that the viewer opened, and the one that a trusted proxy replaced."""
        hosts = request.headers.getall("Host", [])
        if not self.forwarded(request):
            return hosts
        replaced = request.headers.getall("X-Forwarded-Host", [])
        return [*hosts, *(host.strip() for header in replaced for host in header.split(","))]

    def _trusts(self, address: IpAddress | None) -> bool:
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )


def _parse(text: str) -> IpAddress | None:
    """An address with or without a port; IPv4 addresses written as IPv6 become IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address
