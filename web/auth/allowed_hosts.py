"""The host names this server answers to.

Threat: DNS rebinding. A malicious site points its own name at this machine; in the browser its
page then shares an origin with ours and can read everything. Only the Host header (RFC 9110,
section 7.2) gives that away: a browser sends the name in its address bar, and no page can change
it. The operator adds every further name under which viewers open the page to `web_hosts`.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable

from aiohttp import web

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.wire.slow_lookup import slow_lookup

OWN_NAME_RETRY_SECONDS = 10.0
_HOST_HEADER = re.compile(r"(\[[^\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")
_DEFAULT_PORT = 80


class AllowedHosts:
    """The machine's own names and `further` ones; `clock` counts seconds.

    A trusted proxy that passes on the name the viewer opened is believed: it knows which names it
    serves. A browser on this machine may have the same address as such a proxy, but has our port
    in its address bar; the proxy cannot, because only one of us can listen on it.
    """

    def __init__(
        self,
        further: Iterable[str],
        proxies: TrustedProxies,
        clock: Callable[[], float],
        resolve: Callable[[], str] | None = None,
    ) -> None:
        self._allowed = {_normalized(name) for name in further} | own_names()
        self._proxies = proxies
        self._clock = clock
        self._resolve = resolve or full_name
        self._resolved_at = float("-inf")
        self._resolve_own_name()

    def check(self, request: web.BaseRequest) -> None:
        """Raise RequestRefused if the viewer opened a name that is not this server's."""
        for host in request.headers.getall("Host", []):
            name, port = split(host)
            if not self._is_allowed(name) and not self._is_proxys(request, port):
                self._resolve_own_name()
                hint = (
                    "open it by its address or its own name; if this name is right, whoever runs"
                    " the server can add it to web_hosts in config.yml"
                )
                raise RequestRefused(421, f"{name[:80]!r} is not a name of this server", hint)

    def _is_allowed(self, name: str) -> bool:
        return name in self._allowed or name.endswith(".localhost") or is_address(name)

    def _is_proxys(self, request: web.BaseRequest, port: int | None) -> bool:
        transport = request.transport
        own_port = transport.get_extra_info("sockname")[1] if transport is not None else None
        return port not in (None, own_port) and self._proxies.forwarded(request)

    def _resolve_own_name(self) -> None:
        """Resolve the machine's full name in the background, unless that was just done.

        A name service that is not up yet, as after a boot, is asked again when a name is refused.
        """
        now = self._clock()
        if now - self._resolved_at >= OWN_NAME_RETRY_SECONDS:
            self._resolved_at = now
            slow_lookup(self._allow_own_name, thread_name="own name")

    def _allow_own_name(self) -> None:
        self._allowed.add(_normalized(self._resolve()))


def own_names() -> set[str]:
    """What this machine is called without a name service: host name, short name, mDNS name."""
    name = _normalized(os.uname().nodename)
    short = name.partition(".")[0]
    return {"localhost", name, short, f"{short}.local"}


def full_name() -> str:
    """The machine's name with its domain, like `hostname --fqdn`; may take seconds."""
    own = os.uname().nodename
    try:
        return socket.getaddrinfo(own, None, flags=socket.AI_CANONNAME)[0][3] or own
    except (OSError, UnicodeError):
        return own


def split(host: str, default_port: int = _DEFAULT_PORT) -> tuple[str, int | None]:
    """Name and port of a Host header; the port is None if no browser would send such a header."""
    match = _HOST_HEADER.fullmatch(host.strip())
    if match is None:
        return host, None
    return _normalized(match[1]), int(match[2] or default_port)


def is_address(name: str) -> bool:
    """Whether this is an IP address, which no site can own; IPv6 in brackets."""
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1].partition("%")[0])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _normalized(name: str) -> str:
    """Names ignore case and the final dot of a fully qualified one."""
    return name.lower().removesuffix(".")
