"""Which host a peer is: the one its key was issued for, else the entry of `hosts` by address."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

_MAX_PEERS = 65_536


def plain_address(text: str) -> str | None:
    """An address without zone, `::ffff:a.b.c.d` as a.b.c.d; None if it is not an address."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def key_of(peer: str) -> str:
    """The public key of a peer; empty without keys."""
    return peer.partition(" with key ")[2]


def address_of(peer: str) -> str:
    """The address of a peer, with or without a key."""
    return peer.partition(" with key ")[0]


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


class Directory:
    """The entries of `hosts` and their addresses, as far as known.

    The name that a host sends is never trusted. All addresses of this machine, loopback included,
    are one peer: it belongs to the entries that resolve to this machine.
    """

    def __init__(self, hosts: Iterable[str], own_name: str = "") -> None:
        self.hosts = tuple(dict.fromkeys(hosts))
        self._own_name = own_name
        self._addresses: dict[str, frozenset[str]] = {}
        for host in self.hosts:
            if (address := plain_address(host)) is not None:
                self._addresses[host] = frozenset((address,))
        self.names = tuple(host for host in self.hosts if host not in self._addresses)
        """The entries that are names, and have to be resolved."""
        self._host_of_key: Callable[[str], str | None] | None = None
        self._own: frozenset[str] = frozenset()
        self._peers: dict[str, tuple[str, ...]] = {}

    def learn(self, host: str, addresses: Iterable[str]) -> None:
        """Replaces the addresses of `host`; an empty answer keeps the last ones."""
        known = frozenset(filter(None, map(plain_address, addresses)))
        if known and known != self._addresses.get(host):
            self._addresses[host] = known
            self._peers.clear()

    def learn_own(self, addresses: Iterable[str]) -> None:
        """Replaces the addresses of this machine; an empty answer keeps the last ones."""
        own = frozenset(filter(None, map(plain_address, addresses)))
        if own and own != self._own:
            self._own = own
            self._peers.clear()

    def use_keys(self, host_of_key: Callable[[str], str | None]) -> None:
        """From now on, identify peers by key, and ignore their addresses."""
        self._host_of_key = host_of_key

    @property
    def keyed(self) -> bool:
        """Whether peers are identified by their keys."""
        return self._host_of_key is not None

    def forget_peers(self) -> None:
        """Identifies every peer again: call this after keys were issued or revoked."""
        self._peers.clear()

    def entries(self, peer: str) -> tuple[str, ...]:
        """The entries that `peer` may report for.

        Without configured hosts this is ("",) for a peer on loopback, which may use any name.
        """
        found = self._peers.get(peer)
        if found is None:
            if len(self._peers) >= _MAX_PEERS:
                self._peers.clear()
            found = self._peers[peer] = tuple(self._find(peer))
        return found

    def _find(self, peer: str) -> Iterator[str]:
        if self._host_of_key is not None:
            name = self._host_of_key(key_of(peer))
            if name is not None:
                yield name
            return
        address = plain_address(peer)
        if address is None:
            return
        if not self.hosts:
            if is_loopback(address):
                yield ""
        elif self._is_own(address):
            yield from self._own_entries()
        else:
            yield from (host for host in self.hosts if address in self._addresses.get(host, ()))

    def _is_own(self, address: str) -> bool:
        return address in self._own or is_loopback(address)

    def _own_entries(self) -> tuple[str, ...]:
        return tuple(
            host for host in self.hosts if any(map(self._is_own, self._addresses.get(host, ())))
        )

    def host_of(self, peer: str, sent: str) -> str | None:
        """The document's name for the host that `peer` calls `sent`; None if it may not report."""
        return choose(self.entries(peer), sent)

    def own_name(self, sent: str) -> str:
        """The document's name for a collector in this process, which may always report."""
        if not self.hosts:
            return sent
        return choose(self._own_entries(), sent) or self._own_name or sent


def choose(entries: tuple[str, ...], sent: str) -> str | None:
    """Among several entries with one address, the one that is sent, else the first."""
    if not entries:
        return None
    return sent if sent in entries or entries == ("",) else entries[0]
