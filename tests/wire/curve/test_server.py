"""Both links with keys: which peers are admitted, under which name, counted or cut off."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import zmq

from gpu_monitor.broker import ingest
from gpu_monitor.collector import pusher
from gpu_monitor.commands import key_files
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.curve import enrolled_keys
from gpu_monitor.wire.curve.keys import HOSTS, WEBS, key_in
from gpu_monitor.wire.curve.server import CurveServer
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES
from tests.support.house import eventually, free_ports
from tests.support.key_folders import KeyFolders
from tests.support.links import PATIENCE_SECONDS, RPC_TIMEOUT, Collector, Links, links
from tests.support.snapshots import make_snapshot


@pytest.fixture(autouse=True)
def no_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    secrets = [key_in(file.read_text()) or "" for file in tmp_path.rglob("own.key")]
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert secrets and said
    assert [line for line in said for secret in secrets if secret in line] == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Links]:
    async with links(tmp_path) as house:
        yield house


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


async def test_a_host_is_identified_by_its_key_and_not_by_the_name_it_sends(house: Links) -> None:
    web = house.web()
    house.host("node1", sent="node2")
    await house.until(lambda: web.state("node1") == "live")
    assert web.document["hosts"].keys() == {"node1", "other"}
    assert web.document["hosts"]["node1"]["system"]["hostname"] == "node2"


async def test_hosts_behind_one_address_are_distinguished(house: Links) -> None:
    web = house.web()
    for name in ("node1", "other"):
        house.host(name, sent="localhost")
    await house.until(lambda: web.state("node1") == web.state("other") == "live")
    assert web.document["hosts"].keys() == {"node1", "other"}


async def test_the_config_decides_which_hosts_are_expected_and_keys_which_may_report(
    tmp_path: Path,
) -> None:
    async with links(tmp_path, hosts=("127.0.0.1",)) as house:
        web = house.web()
        house.host("node1")
        await house.until(lambda: web.state("node1") == "live")
        assert web.state("127.0.0.1") == "missing"


def pin_another_key(folder: str) -> str:
    Path(folder, "broker.pub").write_text(Path(folder, "own.pub").read_text())
    return folder


STRANGERS = {
    "unknown key": "it does not know this machine's key; there: gpu-monitor keys add liar --pu",
    "key of a web server": "it does not know this machine's key; there: gpu-monitor keys add liar",
    "no key": "it requires keys: name them in config.yml (keys)",
    "wrong broker key": "perhaps it has no keys, or {folder}/broker.pub is not its own.pub",
}


def stranger(folders: KeyFolders, which: str) -> str:
    """The folder of a machine that may not report."""
    if which == "no key":
        return ""
    if which == "key of a web server":
        return folders.web("liar")
    if which == "unknown key":
        return folders.machine("liar")
    return pin_another_key(folders.host("liar"))


def tries_on(liar: Collector) -> bool:
    """Whether the collector knows why it is refused; if so, let time pass for its next attempt.

    Where both ends notice the mismatch, the quicker one breaks off, and the broker counts only the
    connections that it broke off itself.
    """
    told = bool(liar.pusher.why())
    liar.clock.ahead += 0.1 * told
    return told


@pytest.mark.parametrize("which", STRANGERS)
async def test_a_peer_without_a_valid_key_is_counted_and_told_why_and_disturbs_no_other(
    house: Links, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    web, _ = house.web(), house.host("node1")
    await house.until(lambda: web.state("node1") == "live")
    folder = await house.meanwhile(stranger, house.folders, which)
    liar = house.collector(folder, "liar")
    reason = which if which in ("no key", "wrong broker key") else "unknown key"
    await house.until(lambda: tries_on(liar) and web.refused(reason))
    liar.clock.ahead += 2.0
    await house.turn()
    liar.clock.ahead += 2.0  # a new socket is refused again, but not logged again
    refused = web.refused(reason)
    await house.until(lambda: tries_on(liar) and web.refused(reason) > refused)
    liar.clock.ahead += 0.5
    await house.turn()
    words = STRANGERS[which].format(folder=folder)
    said = [line for line in lines(caplog, pusher.__name__) if "not reachable" in line]
    assert 0 < len(said) == len(set(said)) <= 2  # that the connection broke off, and then why
    assert [line for line in said if words not in line] == []
    counted = [line for line in lines(caplog, ingest.__name__) if f": {reason} (" in line]
    assert len(counted) == 1
    assert liar.pushed == 0
    assert web.state("liar") in (None, "missing")
    assert web.states("node1") == {"live"} and web.lost == 0


@pytest.mark.parametrize("which", ["unknown key", "no key", "wrong broker key"])
async def test_a_peer_without_a_valid_key_receives_nothing(house: Links, which: str) -> None:
    web = house.web()
    await house.until(lambda: web.replica.ever_synced)
    if which == "no key":
        folder = ""
    elif which == "unknown key":
        folder = house.folders.host("node1")  # may report, but not listen
    else:
        folder = pin_another_key(await house.meanwhile(house.folders.web, "node1"))
    deaf = house.web(folder)
    await house.until(lambda: web.refused(which) and deaf.replica.refusal)
    assert not deaf.replica.ever_synced and web.lost == 0
    assert deaf.replica.refusal.startswith("no connection to the broker: it ")
    assert "--public" not in deaf.replica.refusal


async def test_a_revoked_host_is_cut_off_in_mid_connection_and_returns_once_enrolled_again(
    house: Links, caplog: pytest.LogCaptureFixture
) -> None:
    web, other, node = house.web(), house.host("other"), house.host("node1")
    await house.until(lambda: web.state("node1") == web.state("other") == "live")
    await house.meanwhile(house.folders.revoke, "node1", HOSTS)
    await house.until(lambda: web.state("node1") == "stale")
    assert web.refused("unknown key") >= 1
    await house.until(lambda: node.pusher.why().startswith("it does not know this machine's key"))
    heard_at = web.document["hosts"]["node1"]["heard_at"]
    await house.meanwhile(house.folders.enrol, "node1", HOSTS)
    await house.until(lambda: "enrolled: hosts node1" in lines(caplog, enrolled_keys.__name__)[-1])
    node.clock.ahead += 5.0
    await house.until(lambda: web.state("node1") == "live")
    assert web.document["hosts"]["node1"]["heard_at"] > heard_at
    assert web.states("other") == {"live"} and web.lost == 0 and not other.pusher.why()


@pytest.mark.parametrize("own", ["127.0.0.1", "[::1]"])
async def test_a_connection_is_cut_off_on_all_interfaces_too(tmp_path: Path, own: str) -> None:
    if own == "[::1]" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    port = free_ports(1)[0]
    async with links(tmp_path, rpc_endpoints=(f"tcp://*:{port}",)) as house:
        web = house.web()
        node = house.collector(house.folders.host("node1"), endpoint=f"tcp://{own}:{port}")
        await house.until(lambda: web.state("node1") == "live")
        await house.meanwhile(house.folders.revoke, "node1", HOSTS)
        await house.until(lambda: node.pusher.why().startswith("it does not know this machine"))


async def test_a_revoked_web_server_is_cut_off_and_returns_once_enrolled_again(
    house: Links,
) -> None:
    stays, goes = house.web(), house.web()
    house.host("node1")
    await house.until(lambda: stays.state("node1") == goes.state("node1") == "live")
    await house.meanwhile(house.folders.revoke, "page1", WEBS)
    await house.until(lambda: goes.replica.lost and goes.replica.refusal)
    last = goes.document["now"]
    await house.until(lambda: stays.document["now"] > last + 0.5)
    assert goes.document["now"] == last
    await house.meanwhile(house.folders.enrol, "page1", WEBS)
    await house.until(lambda: stays.document["now"] > last + 1.0)
    goes.clock.ahead += 5.0
    await house.until(lambda: not goes.replica.lost)
    assert stays.lost == 0 and stays.states("node1") == {"live"}


async def test_a_host_whose_key_is_rotated_is_back_without_a_restart(
    house: Links, caplog: pytest.LogCaptureFixture
) -> None:
    web, node, other = house.web(), house.host("node1"), house.host("other")
    await house.until(lambda: web.state("node1") == web.state("other") == "live")
    own = f"{house.folders.place}/node1"
    public = await house.meanwhile(key_files.rotate_own, own, "node1")
    await house.meanwhile(key_files.rotate, house.folders.broker, HOSTS, "node1", public)
    words = "enrolled with another key: hosts node1"
    await house.until(lambda: words in lines(caplog, enrolled_keys.__name__))
    node.clock.ahead += 5.0
    now, pushed = web.document["now"], node.pushed
    await house.until(lambda: node.pushed > pushed and web.document["now"] > now + RPC_TIMEOUT)
    assert web.state("node1") == "live"
    assert web.states("other") == {"live"} and not other.pusher.why()


async def test_a_web_server_whose_key_is_rotated_is_back_without_a_restart(house: Links) -> None:
    stays, goes = house.web(), house.web()
    await house.until(lambda: stays.replica.ever_synced and goes.replica.ever_synced)
    own = f"{house.folders.place}/page1"
    public = await house.meanwhile(key_files.rotate_own, own, "page1")
    await house.meanwhile(key_files.rotate, house.folders.broker, WEBS, "page1", public)
    now = stays.document["now"]
    await house.until(lambda: stays.document["now"] > now + 0.5)
    goes.clock.ahead += 5.0
    await house.until(lambda: not goes.replica.lost and goes.document["now"] > now + 0.5)
    assert stays.lost == 0


async def test_a_corrected_key_of_the_broker_is_read_without_a_restart(house: Links) -> None:
    web = house.web()
    folder = house.folders.host("node1")
    right = Path(folder, "broker.pub").read_text()
    node = house.collector(pin_another_key(folder), "node1")
    await house.until(lambda: node.pusher.why())
    Path(folder, "broker.pub").write_text(right)
    await house.until(lambda: web.state("node1") == "live")


async def test_keys_that_break_while_in_use_are_logged_once_and_ignored(
    house: Links, caplog: pytest.LogCaptureFixture
) -> None:
    web, node = house.web(), house.host("node1")
    await house.until(lambda: web.state("node1") == "live")
    os.chmod(f"{house.folders.place}/node1/own.key", 0o644)
    pushed = node.pushed
    await house.until(lambda: node.pushed > pushed + 5)
    assert len(lines(caplog, "gpu_monitor.wire.curve.client")) == 1
    assert "others may read it (mode 0644)" in lines(caplog, "gpu_monitor.wire.curve.client")[0]
    assert web.states("node1") == {"live"}


async def test_an_enrolled_host_is_expected_and_a_revoked_host_is_not(house: Links) -> None:
    web = house.web()
    await house.meanwhile(house.folders.host, "node2")
    await house.until(lambda: web.state("node2") == "missing")
    await house.meanwhile(house.folders.revoke, "node2", HOSTS)
    await house.until(lambda: web.state("node2") is None and web.state("node1") == "missing")


async def test_the_broker_s_own_machine_needs_no_enrolment(tmp_path: Path) -> None:
    async with links(tmp_path, own_name="head") as house:
        web = house.web(house.folders.broker)
        house.collector(house.folders.broker, "whatever")
        await house.until(lambda: web.state("head") == "live")


async def test_a_broken_key_file_admits_no_peer_and_leaves_the_others(
    house: Links, caplog: pytest.LogCaptureFixture
) -> None:
    web, _, node = house.web(), house.host("other"), house.host("node1")
    await house.until(lambda: web.state("node1") == web.state("other") == "live")
    Path(house.folders.broker, "hosts", "node1.pub").write_text("not a key\n")
    await house.until(lambda: web.state("node1") == "stale" and node.pusher.why())
    said = [line for line in lines(caplog, enrolled_keys.__name__) if "holds no key" in line]
    assert len(said) == 1 and "hosts/node1.pub" in said[0] and "not a key" not in said[0]
    assert web.states("other") == {"live"}


async def test_the_largest_message_passes_even_encrypted(house: Links) -> None:
    web, node = house.web(), house.host("node1")
    await house.until(lambda: web.state("node1") == "live")
    message = pack(make_snapshot("node1"))
    message += b"\xc1" * (MAX_MESSAGE_BYTES - len(message))
    node.instead = message
    await house.until(lambda: web.refused("msgpack") > 3)
    assert not node.pusher.why()


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


async def test_no_key_is_needed_inside_the_process(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    folders = KeyFolders(tmp_path)
    gate = CurveServer(folders.broker, context, "head", lambda *_: None)
    router = context.socket(zmq.ROUTER)
    gate.guard(router, WEBS)
    router.bind("inproc://updates")
    dealer = context.socket(zmq.DEALER)
    dealer.connect("inproc://updates")
    dealer.send(b"patch")
    assert router.poll(int(1000 * PATIENCE_SECONDS))
    assert gate.may_subscribe(router.recv_multipart(copy=False)[1])
    logging.getLogger(__name__).debug("heard")
    gate.close()
    dealer.close(0)
    router.close(0)


def test_no_peer_is_admitted_without_an_answer(
    tmp_path: Path, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    """While the gate does not answer, and once it is closed."""
    folders = KeyFolders(tmp_path)
    gate = CurveServer(folders.broker, context, "", lambda *_: None)
    guarded = context.socket(zmq.PULL)
    gate.guard(guarded, HOSTS)
    port = free_ports(1)[0]
    guarded.bind(f"tcp://127.0.0.1:{port}")
    gate.close()
    node = Collector(f"tcp://127.0.0.1:{port}", folders.host("node1"), "node1")

    def refused() -> bool:
        node.push()
        return bool(node.pusher.why())

    eventually(refused, "a connection that is broken off")
    logging.getLogger(__name__).debug("pushed in vain")
    assert node.pushed == 0 and not guarded.poll(0)
    node.pusher.close()
    guarded.close(0)
