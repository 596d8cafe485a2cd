"""wire.curve.client: a socket's keys, their changes, and the reason of a refusal."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from gpu_monitor.commands import key_files
from gpu_monitor.wire.curve.client import LINK_PATIENCE_SECONDS, REFUSED_PATIENCE_SECONDS, Lock
from gpu_monitor.wire.curve.keys import KeysError, own_pair
from tests.support.house import eventually
from tests.support.key_folders import KeyFolders


@pytest.fixture
def folders(tmp_path: Path) -> KeyFolders:
    return KeyFolders(tmp_path)


class Ends:
    """Brokers' sockets on free ports, and locked sockets to them."""

    def __init__(self) -> None:
        self._near: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._far: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self.accepted: zmq.Socket[bytes] | None = None

    def listen(self, folder: str = "") -> int:
        """The port of a broker's socket, with the keys in `folder`."""
        pull = self._far.socket(zmq.PULL)
        if folder:
            pull.setsockopt(zmq.CURVE_SERVER, 1)
            pull.setsockopt(zmq.CURVE_SECRETKEY, own_pair(folder).secret.encode())
        self.accepted = pull.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self._sockets += [pull, self.accepted]
        return pull.bind_to_random_port("tcp://127.0.0.1")

    def let_nobody_in(self) -> None:
        """From now on, refuse every key."""

        def answer() -> None:
            asked = self._far.socket(zmq.REP)
            asked.bind("inproc://zeromq.zap.01")
            ready.set()
            with contextlib.suppress(zmq.ZMQError):  # the end of the context
                while True:
                    version, request, *_ = asked.recv_multipart()
                    asked.send_multipart([version, request, b"400", b"no", b"", b""])
            asked.close(0)

        ready = threading.Event()
        threading.Thread(target=answer, daemon=True).start()
        assert ready.wait(10)

    def push(self, port: int, lock: Lock) -> "zmq.Socket[bytes]":
        socket = self._near.socket(zmq.PUSH)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.LINGER, 0)
        lock.put_on(socket)
        socket.connect(f"tcp://127.0.0.1:{port}")
        self._sockets.append(socket)
        return socket

    def give_up(self, socket: "zmq.Socket[bytes]", lock: Lock) -> None:
        lock.take_off()
        socket.close(0)

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._near.destroy(linger=0)
        self._far.term()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def refusal(lock: Lock) -> str:
    """Why the broker refuses the connection, once that is known."""
    return eventually(lambda: lock.why() or None, "a refusal")


def is_reached(socket: "zmq.Socket[bytes]") -> bool:
    return bool(socket.poll(30_000, zmq.POLLOUT))


def test_without_keys_nothing_is_known_and_nothing_changes(ends: Ends) -> None:
    lock = Lock("", "")
    assert is_reached(ends.push(ends.listen(), lock))
    assert lock.why() == "" and not lock.is_changed()
    assert lock.patience == LINK_PATIENCE_SECONDS
    lock.take_off()


def test_with_the_right_keys_the_broker_is_reached(ends: Ends, folders: KeyFolders) -> None:
    lock = Lock(folders.host("node1"), "")
    assert is_reached(ends.push(ends.listen(folders.broker), lock))
    assert lock.why() == ""
    lock.take_off()


def test_a_socket_without_keys_learns_that_the_broker_requires_them(
    ends: Ends, folders: KeyFolders
) -> None:
    lock = Lock("", "")
    ends.push(ends.listen(folders.broker), lock)
    assert "it requires keys: name them in config.yml (keys)" in refusal(lock)
    lock.take_off()


def test_a_socket_with_keys_learns_that_the_broker_has_none(
    ends: Ends, folders: KeyFolders
) -> None:
    lock = Lock(folders.host("node1"), "")
    ends.push(ends.listen(), lock)
    assert "it has no keys, or" in refusal(lock)
    lock.take_off()


def test_nothing_is_sent_to_another_broker(ends: Ends, folders: KeyFolders) -> None:
    folder = folders.host("node1")
    lock = Lock(folder, "")
    ends.push(ends.listen(folders.machine("false-broker")), lock)
    assert refusal(lock) == (
        "it closes the connection; perhaps it has no keys, "
        f"or {folder}/broker.pub is not its own.pub"
    )
    lock.take_off()


def test_after_each_refusal_the_wait_is_longer_and_the_remedy_is_named(
    ends: Ends, folders: KeyFolders
) -> None:
    ends.let_nobody_in()
    port, folder = ends.listen(folders.broker), folders.host("node1")
    lock = Lock(folder, "gpu-monitor keys add node1")
    waits = []
    for _ in range(5):
        socket = ends.push(port, lock)
        assert refusal(lock) == (
            "it does not know this machine's key; "
            f"there: gpu-monitor keys add node1 --public='{own_pair(folder).public}'"
        )
        waits.append(lock.patience)
        ends.give_up(socket, lock)
    assert waits == [
        REFUSED_PATIENCE_SECONDS,
        2.0,
        4.0,
        LINK_PATIENCE_SECONDS,
        LINK_PATIENCE_SECONDS,
    ]


def test_a_success_clears_the_refusal(ends: Ends, folders: KeyFolders) -> None:
    lock = Lock(folders.host("node1"), "")
    socket = ends.push(ends.listen(), lock)
    assert refusal(lock)
    ends.give_up(socket, lock)
    assert lock.why() != ""
    assert is_reached(ends.push(ends.listen(folders.broker), lock))
    eventually(lambda: lock.why() == "", "the success")
    assert lock.patience == LINK_PATIENCE_SECONDS
    lock.take_off()


@pytest.mark.parametrize("file", ["own.key", "broker.pub"])
def test_a_file_that_changes_leads_to_a_new_socket(folders: KeyFolders, file: str) -> None:
    folder = folders.host("node1")
    lock = Lock(folder, "")
    assert not lock.is_changed()
    if file == "own.key":
        key_files.rotate_own(folder, "node1")
    else:
        Path(folder, file).write_text(own_pair(folders.machine("other")).public)
    assert lock.is_changed()
    assert not lock.is_changed()


def test_a_file_that_is_only_touched_changes_nothing(folders: KeyFolders) -> None:
    folder = folders.host("node1")
    lock = Lock(folder, "")
    os.utime(f"{folder}/own.key")
    assert not lock.is_changed()


def test_a_broken_key_file_is_logged_once_and_the_keys_stay_in_use(
    folders: KeyFolders, caplog: pytest.LogCaptureFixture, ends: Ends
) -> None:
    folder = folders.host("node1")
    lock = Lock(folder, "")
    Path(folder, "broker.pub").write_text("nonsense")
    assert not lock.is_changed() and not lock.is_changed()
    (words,) = caplog.messages
    assert "broker.pub: holds no key" in words and "nonsense" not in words
    assert is_reached(ends.push(ends.listen(folders.broker), lock))
    lock.take_off()


def test_a_file_that_was_broken_for_a_moment_is_read_again(
    folders: KeyFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is seen half-written, and keeps its timestamp once it is complete."""
    folder = folders.host("node1")
    lock = Lock(folder, "")
    monkeypatch.setattr("gpu_monitor.wire.curve.client.stamp", lambda path: (1,))
    Path(folder, "broker.pub").write_text("")
    assert not lock.is_changed()
    Path(folder, "broker.pub").write_text(own_pair(folders.machine("other")).public)
    assert lock.is_changed()
    assert not lock.is_changed()


def test_keys_that_cannot_be_used_are_refused(folders: KeyFolders) -> None:
    folder = folders.place / "alone"
    key_files.init(str(folder), "alone")
    with pytest.raises(KeysError, match=r"broker\.pub: is missing"):
        Lock(str(folder), "")


def test_abandoned_sockets_do_not_connect_again(ends: Ends, folders: KeyFolders) -> None:
    """With a wrong key, libzmq keeps reconnecting for as long as the socket exists."""
    port, folder = ends.listen(folders.broker), folders.host("node1")
    Path(folder, "broker.pub").write_text(own_pair(folder).public)
    lock, accepted = Lock(folder, ""), ends.accepted
    assert accepted is not None
    for _ in range(5):
        socket = ends.push(port, lock)
        assert accepted.poll(30_000)
        ends.give_up(socket, lock)

    def is_quiet() -> bool:
        while accepted.poll(0):
            accepted.recv_multipart()
        return not accepted.poll(1000)  # an open socket reconnects every 0.1 s

    eventually(is_quiet, "the last connection")
