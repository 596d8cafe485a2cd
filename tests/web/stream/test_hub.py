"""Who is sent what when buffers fill: with transports and a clock in the test's hands."""

import asyncio
import json
import socket
from typing import Any

import pytest

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.stream.encodings import JSON, PING, PONG
from gpu_monitor.web.stream.hub import PING_SECONDS, UNANSWERED_PINGS, Full, Hub
from gpu_monitor.web.stream.viewer import EMPTYING_SECONDS, STUCK_SECONDS, Viewer
from tests.support.web_house import wait_for

SOMEBODY = Person("", "commands")


class Pipe(asyncio.Transport):
    """A connection whose other end takes in only what the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.left = 0
        self.kernel: socket.socket | None = None
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.left

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *_option: Any) -> None:
        pass

    def fileno(self) -> int:
        return -1 if self.kernel is None else self.kernel.fileno()

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> list[tuple[str, int]]:
        """Type and sequence of the messages written since."""
        messages, data = [], self.written
        self.written = b""
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if data[0] == 0x81:
                message = json.loads(data[start : start + size])
                messages.append((message["type"], message["sequence"]))
            data = data[start + size :]
        return messages


class Scene:
    """A hub at second `now`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.document: dict[str, Any] = {"now": 1.0, "hosts": {}}
        self.hub = Hub(self.document, lambda: self.now)

    async def enter(self) -> tuple[Viewer, Pipe]:
        """A viewer who has its fleet."""
        pipe = Pipe()
        viewer = self.hub.greet("here", SOMEBODY)
        viewer.connection_made(pipe)
        self.hub.join(viewer, JSON, None)
        await wait_for(lambda: pipe.written != b"")
        return viewer, pipe

    def tick(self, seconds: float = 0.5) -> None:
        self.now += seconds
        self.hub.publish(self.document, {"now": self.now})


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_viewer_with_an_empty_buffer_is_sent_each_patch(scene: Scene) -> None:
    _, pipe = await scene.enter()
    scene.tick()
    scene.tick()
    assert pipe.take() == [("fleet", 1), ("patch", 2), ("patch", 3)]


async def test_while_bytes_wait_nothing_is_added_to_them(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.take()
    pipe.left = 10
    scene.tick()
    scene.hub.look()
    assert pipe.take() == []


async def test_who_missed_little_is_sent_just_that(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.take()
    pipe.left = 10
    scene.tick()
    scene.tick()
    pipe.left = 0
    scene.hub.look()
    scene.tick()
    assert pipe.take() == [("patch", 2), ("patch", 3), ("patch", 4)]


async def test_who_missed_much_is_sent_a_fresh_fleet(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.take()
    pipe.left = 10
    for _ in range(10):
        scene.tick(0.1)
    pipe.left = 0
    scene.hub.look()
    await wait_for(lambda: pipe.written != b"")
    scene.tick()
    assert pipe.take() == [("fleet", 11), ("patch", 12)]


async def test_patches_while_a_fleet_is_encoded_follow_it(scene: Scene) -> None:
    pipe = Pipe()
    viewer = scene.hub.greet("here", SOMEBODY)
    viewer.connection_made(pipe)
    scene.hub.join(viewer, JSON, None)
    await asyncio.sleep(0)
    for _ in range(20):
        scene.tick(0.1)
    await wait_for(lambda: pipe.written != b"")
    messages = pipe.take()
    assert messages[0][0] == "fleet"
    assert [sequence for _, sequence in messages] == list(range(messages[0][1], 22))


async def test_one_who_takes_no_byte_is_cut_after_two_seconds(scene: Scene) -> None:
    viewer, pipe = await scene.enter()
    pipe.left = 1000
    scene.tick()
    scene.now += STUCK_SECONDS - 0.6
    scene.hub.look()
    assert not pipe.aborted
    scene.now += 0.6
    scene.hub.look()
    assert pipe.aborted and viewer.left
    assert len(scene.hub) == 0
    assert scene.hub.cut == {"slow": 1, "silent": 0}


async def test_one_who_takes_bytes_slowly_is_kept_for_a_while(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.left = 100_000
    scene.tick()
    waited = 0.0
    while not pipe.aborted:
        scene.now += 0.5
        waited += 0.5
        pipe.left -= 1
        scene.hub.look()
    assert EMPTYING_SECONDS - 1 <= waited <= EMPTYING_SECONDS


async def test_one_to_whom_the_kernel_brings_bytes_is_kept_as_well(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.left = 100_000
    pipe.kernel, other_end = socket.socketpair()
    with pipe.kernel, other_end:
        for _ in range(20):
            pipe.kernel.send(bytes(1000))
        scene.tick()
        for _ in range(20):
            other_end.recv(1000)
            scene.now += STUCK_SECONDS - 0.1
            scene.hub.look()
        assert not pipe.aborted
        scene.now += STUCK_SECONDS
        scene.hub.look()
    assert pipe.aborted


async def test_a_heartbeat_goes_out_when_nothing_else_does(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.take()
    scene.now += 0.9
    scene.hub.look()
    assert pipe.take() == []
    scene.now += 0.2
    scene.hub.look()
    assert pipe.take() == [("patch", 2)]


async def test_who_answers_pings_stays_and_who_does_not_is_cut(scene: Scene) -> None:
    (answering, lively), (_, dead) = await scene.enter(), await scene.enter()
    for _ in range(UNANSWERED_PINGS + 1):
        lively.written = dead.written = b""
        scene.tick(PING_SECONDS)
        scene.hub.look()
        if bytes([0x80 | PING, 0]) in lively.written:
            answering.data_received(bytes([0x80 | PONG, 0x80, 0, 0, 0, 0]))
    assert dead.aborted and not lively.aborted and len(scene.hub) == 1
    assert scene.hub.cut == {"slow": 0, "silent": 1}


async def test_a_server_that_slept_cuts_nobody_who_was_not_asked(scene: Scene) -> None:
    _, pipe = await scene.enter()
    scene.tick(100 * PING_SECONDS)
    scene.hub.look()
    assert not pipe.aborted and bytes([0x80 | PING, 0]) in pipe.written


async def test_a_viewer_who_left_is_sent_nothing(scene: Scene) -> None:
    viewer, pipe = await scene.enter()
    pipe.take()
    viewer.connection_lost(None)
    scene.tick()
    assert pipe.take() == []
    assert len(scene.hub) == 0


async def test_those_for_whom_there_is_no_place_are_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_monitor.web.stream.hub.MAX_VIEWERS", 1)
    scene.hub.check_room("here", None, "commands")
    await scene.enter()
    with pytest.raises(Full, match="all 1 places"):
        scene.hub.check_room("there", None, "commands")
    assert scene.hub.refused == 1


async def test_a_stop_cuts_who_is_behind_and_tells_the_others(scene: Scene) -> None:
    _, deaf = await scene.enter()
    _, good = await scene.enter()
    deaf.written = good.written = b""
    deaf.left = 10
    closing = asyncio.ensure_future(scene.hub.close())
    await asyncio.sleep(0)
    assert deaf.aborted and deaf.written == b""
    assert good.written[:4] == b"\x88\x12\x03\xe9"
    scene.now += 1
    await closing
    assert good.aborted
    assert scene.hub.cut == {"slow": 0, "silent": 0}
