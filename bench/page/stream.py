"""The stream of a simulated fleet: the same seed gives the same document and patches."""

from typing import Any

import zmq

from gpu_monitor.broker.document import Published
from gpu_monitor.broker.fleet import Fleet
from gpu_monitor.broker.settings import BrokerSettings
from gpu_monitor.demo.host import SimulatedHost
from gpu_monitor.wire.changes import open_message, read_changes
from gpu_monitor.wire.codec import pack

GPUS_PER_HOST = 8
START = 1_763_910_000.0
TICK_SECONDS = 1.0
PATIENT_SECONDS = 60.0
"""For timeouts on silence: the stream pauses while patches are prepared."""


class Stream:
    """What a broker would publish of a simulated fleet, one patch per second of its time."""

    def __init__(self, gpus: int) -> None:
        hosts = gpus // GPUS_PER_HOST
        settings = BrokerSettings(tick=TICK_SECONDS, rpc_timeout=PATIENT_SECONDS, simulated=True)
        self._hosts = [SimulatedHost(number, GPUS_PER_HOST, START) for number in range(hosts)]
        self._fleet = Fleet((), PATIENT_SECONDS, 86400.0)
        self._published = Published(settings, self._fleet, START)
        self._seconds = 0.0
        for _ in range(3):  # a host is shown once a second snapshot has confirmed the first
            self.patch()

    @property
    def document(self) -> dict[str, Any]:
        """The whole fleet after the last patch."""
        return self._published.document

    def recent(self, name: str) -> Any:
        """The last hour of a host, as the page asks for it when a row opens."""
        return self._published.recent(name, START + self._seconds)

    def patch(self) -> dict[str, Any]:
        """Advance by one second, and return its patch."""
        self._seconds += TICK_SECONDS
        boottime, now = self._seconds, START + self._seconds
        for host in self._hosts:
            host.step(now)
            message = open_message(pack(host.snapshot(now, boottime, 1.0)))
            changes = read_changes(message, self._fleet.last(host.name))
            self._fleet.accept(host.name, changes, boottime, now)
        self._fleet.mark_stale(boottime)
        return self._published.advance(boottime, now, {})


class Publisher:
    """The broker's end of the updates link, which ticks on demand."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._sequence = 0
        self._ready: list[bytes] = []
        self._subscribers: set[bytes] = set()

    def prepare(self, count: int) -> None:
        """Prepare the next patches, so that sending one costs next to nothing."""
        self.answer()
        for _ in range(count):
            self._sequence += 1
            update = {"run_id": "bench", "sequence": self._sequence, "patch": self._stream.patch()}
            self._ready.append(pack(update))

    def tick(self) -> None:
        """Send the next prepared patch."""
        update = self._ready.pop(0)
        for subscriber in self._subscribers:
            self._socket.send_multipart([subscriber, b"patch", update])

    def answer(self) -> None:
        """Answer requests for pictures and recent hours, but not while patches are waiting: the
        answer would be ahead of them.
        """
        while not self._ready and self._socket.poll(0):
            subscriber, topic = self._socket.recv_multipart()
            self._subscribers.add(subscriber)
            if topic.startswith(b"picture/"):
                self._reply(subscriber, topic, fleet=self._stream.document)
            elif topic.startswith(b"recent/"):
                name = topic.decode().split("/", 2)[2]
                self._reply(subscriber, topic, recent=self._stream.recent(name))

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def _reply(self, subscriber: bytes, topic: bytes, **content: Any) -> None:
        update = {"run_id": "bench", "sequence": self._sequence, **content}
        self._socket.send_multipart([subscriber, topic, pack(update)])
