"""Who is at the other end of a connection, and on whose behalf a proxy says that it asks."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from aiohttp import web

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_HOPS = 32


class Peers:
    """Believes what X-Forwarded-For and -Proto say only where a trusted proxy says it.

    X-Forwarded-Host is believed of nobody: nothing here depends on the name the page goes by.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def is_proxy(self, request: web.BaseRequest) -> bool:
        """Whether the connection is a trusted proxy's."""
        return self._trusts(_parse(request.remote or ""))

    def address(self, request: web.BaseRequest) -> str:
        """The viewer's address: that of the first one back from here who is no trusted proxy."""
        address = _parse(request.remote or "")
        if address is None:
            return request.remote or ""
        hops = [
            hop.strip()
            for header in request.headers.getall("X-Forwarded-For", [])
            for hop in header.split(",")
        ]
        for hop in reversed(hops[-_MAX_HOPS:]):
            before = _parse(hop)
            if before is None or not self._trusts(address):
                break
            address = before
        return str(address)

    def is_https(self, request: web.BaseRequest) -> bool:
        """Whether the viewer's own connection is encrypted, as a trusted proxy says."""
        said = request.headers.get("X-Forwarded-Proto", "")
        return self.is_proxy(request) and said.split(",")[0].strip().lower() == "https"

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(
            address.version == network.version and address in network for network in self._trusted
        )


def _parse(text: str) -> Address | None:
    """An address, with or without a port; an IPv4 one also where it is written as IPv6."""
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
