"""Which host a peer is: the one its key was issued for, or the entry of `hosts` of its address."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

_MAX_PEERS = 65_536


def plain_address(text: str) -> str | None:
    """An address in its usual form: no zone, `::ffff:a.b.c.d` as a.b.c.d; None if it is none."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def key_of(peer: str) -> str:
    """The public key of such a peer; empty for one without."""
    return peer.partition(" with key ")[2]


def address_of(peer: str) -> str:
    """The address of a peer, with or without a key."""
    return peer.partition(" with key ")[0]


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


class Directory:
    """Entries of `hosts` and the addresses they are known to have.

    A host is never believed to be who it says it is. All addresses of this machine, loopback
    included, are one and the same peer: it belongs to the entries that mean this machine.
    """

    def __init__(self, hosts: Iterable[str], own_name: str = "") -> None:
        self.hosts = tuple(dict.fromkeys(hosts))
        self._own_name = own_name
        self._addresses: dict[str, frozenset[str]] = {}
        for host in self.hosts:
            if (address := plain_address(host)) is not None:
                self._addresses[host] = frozenset((address,))
        self.names = tuple(host for host in self.hosts if host not in self._addresses)
        """The entries that are names: their addresses have to be asked for."""
        self._host_of_key: Callable[[str], str | None] | None = None
        self._own: frozenset[str] = frozenset()
        self._peers: dict[str, tuple[str, ...]] = {}

    def learn(self, host: str, addresses: Iterable[str]) -> None:
        """What `host` resolves to now; an empty answer leaves the last good one."""
        known = frozenset(filter(None, map(plain_address, addresses)))
        if known and known != self._addresses.get(host):
            self._addresses[host] = known
            self._peers.clear()

    def learn_own(self, addresses: Iterable[str]) -> None:
        """The addresses of this machine's interfaces; none at all leaves the last ones."""
        own = frozenset(filter(None, map(plain_address, addresses)))
        if own and own != self._own:
            self._own = own
            self._peers.clear()

    def use_keys(self, host_of_key: Callable[[str], str | None]) -> None:
        """From now on a peer is whom this tells for its key, whatever its address."""
        self._host_of_key = host_of_key

    @property
    def keyed(self) -> bool:
        """Whether peers are told by their keys."""
        return self._host_of_key is not None

    def forget_peers(self) -> None:
        """Keys were issued or revoked: every peer is looked at anew."""
        self._peers.clear()

    def entries(self, peer: str) -> tuple[str, ...]:
        """The entries that `peer` belongs to; with an empty list ("",) for one on loopback,
        which may report under any name."""
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

    def name(self, peer: str, sent: str) -> str | None:
        """The name in the document for what `peer` sends as `sent`; None: it may not report."""
        return choose(self.entries(peer), sent)

    def own_name(self, sent: str) -> str:
        """The name of a collector inside this process, which is always welcome."""
        if not self.hosts:
            return sent
        return choose(self._own_entries(), sent) or self._own_name or sent


def choose(entries: tuple[str, ...], sent: str) -> str | None:
    """Of several entries with one address the one that is sent, else the first."""
    if not entries:
        return None
    return sent if sent in entries or entries == ("",) else entries[0]
