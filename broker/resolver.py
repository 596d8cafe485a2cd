"""The addresses of the configured hosts and of this machine, renewed in the background."""

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import psutil

from gpu_monitor.wire.slow_lookup import slow_lookups

RESOLVE_SECONDS = 60.0
RESOLVE_RETRY_SECONDS = 10.0
"""A refused peer triggers a refresh, unless the last one was less than this long ago."""
RESOLVER_THREADS = 8

OWN = ""
"""Stands for this machine where a host name is expected."""


class Resolver:
    """Resolves host names without blocking: a dead name service takes seconds for each."""

    def __init__(
        self,
        names: Iterable[str],
        resolve: "Callable[[str], list[str]] | None" = None,
    ) -> None:
        self._names = (OWN, *names)
        self._resolve = resolve or addresses_of
        self._pending: dict[str, Future[list[str]]] = {}
        self._refreshed_at = float("-inf")

    @property
    def is_busy(self) -> bool:
        """Whether `drain` has answers still to come."""
        return bool(self._pending)

    def refresh(self, now: float, min_age: float) -> bool:
        """Starts a refresh if the last one is over and began at least `min_age` seconds ago.

        `now` is any steady clock in seconds. Returns whether one was started.
        """
        if self._pending or now - self._refreshed_at < min_age:
            return False
        self._refreshed_at = now
        self._pending = slow_lookups(self._resolve, self._names, RESOLVER_THREADS, "resolver")
        return True

    def drain(self) -> Iterator[tuple[str, list[str]]]:
        """Yields (name, addresses) for every answer since the last call, `OWN` for this machine.

        A name without an address comes with an empty list.
        """
        for name, lookup in list(self._pending.items()):
            if lookup.done():
                del self._pending[name]
                yield name, [] if lookup.exception() else lookup.result()


def addresses_of(name: str) -> list[str]:
    """All addresses of `name` by the name service, IPv4 and IPv6; those of this machine's
    interfaces for `OWN`."""
    return resolve(name) if name else own_addresses()


def resolve(name: str) -> list[str]:
    """All addresses of `name`, IPv4 and IPv6; none if the name service does not know it."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: not a name that DNS could hold
        return []
    return [str(answer[4][0]) for answer in answers]


def own_addresses() -> list[str]:
    """The addresses of this machine's interfaces; none if no file descriptor is left to ask."""
    families = (socket.AF_INET, socket.AF_INET6)
    try:
        interfaces = psutil.net_if_addrs()
    except OSError:
        return []
    return [
        entry.address
        for entries in interfaces.values()
        for entry in entries
        if entry.family in families
    ]
