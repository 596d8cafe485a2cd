"""The names that this server answers to, so that no other site's name can be made to mean it.

DNS rebinding: a site lets its own name point at this machine, and its page may then read what is
here, as if it were of that site. Only the header Host tells (RFC 9110, section 7.4). A browser
says in it what it has in its address bar, and no page can say something else.
"""

import ipaddress
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable

from aiohttp import web

from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.errors import Wrong

ASK_AGAIN_SECONDS = 10.0
_HOST = re.compile(r"(\[[^\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")
_DEFAULT_PORT = 80


class Names:
    """`further` are names beside the machine's own; `clock` is one of seconds.

    A proxy that passes on the name which the viewer has opened is believed, where it is a
    trusted one: it knows for which names it answers. But a browser of this machine may come from
    the same address as a proxy. It has our port in its address bar then, as a proxy has not, for
    both cannot listen on it.
    """

    def __init__(
        self,
        further: Iterable[str],
        peers: Peers,
        clock: Callable[[], float],
        ask: Callable[[], str] | None = None,
    ) -> None:
        self._known = {_plain(name) for name in further} | own_names()
        self._peers = peers
        self._clock = clock
        self._ask = ask or full_name
        self._asked_at = float("-inf")
        self._look()

    def check(self, request: web.BaseRequest) -> None:
        """Wrong when the viewer has opened a name that is none of this server's."""
        for host in request.headers.getall("Host", []):
            name, port = split(host)
            if not self._is_known(name) and not self._is_of_proxy(request, port):
                self._look()
                hint = (
                    "open it by its address or by its own name; if this name is right, whoever"
                    " runs this server can write it under web_hosts in config.yml"
                )
                raise Wrong(421, f"{name[:80]!r} is no name of this server", hint)

    def _is_known(self, name: str) -> bool:
        return name in self._known or name.endswith(".localhost") or is_address(name)

    def _is_of_proxy(self, request: web.BaseRequest, port: int | None) -> bool:
        transport = request.transport
        own_port = transport.get_extra_info("sockname")[1] if transport is not None else None
        return port not in (None, own_port) and self._peers.is_proxy(request)

    def _look(self) -> None:
        """Ask for the machine's full name, unless that was done just now.

        In a thread that is a daemon: a name service that hangs holds up neither start nor end.
        One that knows nothing yet, as after a boot, is asked again when a name is refused.
        """
        now = self._clock()
        if now - self._asked_at >= ASK_AGAIN_SECONDS:
            self._asked_at = now
            threading.Thread(target=self._learn, name="own name", daemon=True).start()

    def _learn(self) -> None:
        self._known.add(_plain(self._ask()))


def own_names() -> set[str]:
    """What this machine is called without asking anybody: host name, short, and by mDNS."""
    name = _plain(os.uname().nodename)
    short = name.partition(".")[0]
    return {"localhost", name, short, f"{short}.local"}


def full_name() -> str:
    """The machine's name with its domain, as `hostname --fqdn` has it; may take seconds."""
    own = os.uname().nodename
    try:
        return socket.getaddrinfo(own, None, flags=socket.AI_CANONNAME)[0][3] or own
    except (OSError, UnicodeError):
        return own


def split(host: str) -> tuple[str, int | None]:
    """Name and port of a header Host; no port where it is none that a browser would send."""
    match = _HOST.fullmatch(host.strip())
    if match is None:
        return host, None
    return _plain(match[1]), int(match[2] or _DEFAULT_PORT)


def is_address(name: str) -> bool:
    """Whether that is an IP address, which no site can own; IPv6 stands in brackets."""
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1].partition("%")[0])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    """Names are the same in any case, and with the dot that ends a full one."""
    return name.lower().removesuffix(".")
