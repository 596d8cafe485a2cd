"""broker.resolver: names are resolved in the background, and not too often."""

import os
import resource
import threading
from collections.abc import Iterator

import pytest

from gpu_monitor.broker.peer_identity import Directory
from gpu_monitor.broker.resolver import OWN, Resolver, addresses_of, own_addresses, resolve
from tests.support.house import eventually

NO_NAME = "no..name"
"""Not a name, so that no name server is queried, which might be slow."""
WAIT_SECONDS = 30.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def drained(resolver: Resolver) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def is_over() -> bool:
        found.update(resolver.drain())
        return not resolver.is_busy

    eventually(is_over, "all answers")
    return found


def test_every_name_and_this_machine_are_resolved() -> None:
    resolver = Resolver(("localhost", NO_NAME))
    assert resolver.refresh(100.0, 10.0)
    found = drained(resolver)
    assert found.keys() == {OWN, "localhost", NO_NAME}
    assert "127.0.0.1" in found["localhost"] and "127.0.0.1" in found[OWN]
    assert found[NO_NAME] == []


def test_a_refresh_starts_only_if_the_last_one_is_old_enough() -> None:
    resolver = Resolver((), lambda name: [])
    assert resolver.refresh(100.0, 10.0)
    drained(resolver)
    assert not resolver.refresh(109.9, 10.0)
    assert resolver.refresh(110.0, 10.0)


def test_a_refresh_does_not_start_before_the_last_one_is_over(release: threading.Event) -> None:
    def hang_for_node1(name: str) -> list[str]:
        if name == "node1":
            release.wait(WAIT_SECONDS)
        return ["10.0.0.1"]

    resolver = Resolver(("node1", "node2"), hang_for_node1)
    assert resolver.refresh(0.0, 10.0)
    found: dict[str, list[str]] = {}
    eventually(lambda: found.update(resolver.drain()) or len(found) == 2, "the other answers")
    assert found.keys() == {OWN, "node2"}
    assert not resolver.refresh(1000.0, 10.0)
    release.set()
    assert drained(resolver) == {"node1": ["10.0.0.1"]}
    assert resolver.refresh(1000.0, 10.0)


def test_this_machine_has_addresses() -> None:
    assert "127.0.0.1" in own_addresses() and addresses_of(OWN) == own_addresses()


@pytest.mark.parametrize("name", ["", "." * 300, "a\0b", "ü" * 100])
def test_a_string_that_cannot_be_a_name_has_no_address(name: str) -> None:
    assert isinstance(resolve(name), list)


def test_without_a_spare_file_descriptor_the_addresses_known_so_far_remain() -> None:
    directory = Directory(("node1",))
    directory.learn("node1", ["10.0.0.1"])
    directory.learn_own(["10.0.0.1"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        found = own_addresses()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    directory.learn_own(found)
    assert found == [] and own_addresses() != []
    assert directory.entries("127.0.0.1") == directory.entries("10.0.0.1") == ("node1",)
