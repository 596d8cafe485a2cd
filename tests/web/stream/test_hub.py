"""What the hub sends as buffers fill: the test controls the transports and the clock."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from gpu_monitor.web.auth.person import Person
from gpu_monitor.web.settings import WebLimits
from gpu_monitor.web.stream.encodings import JSON
from gpu_monitor.web.stream.hub import PATCH_SECONDS, Hub, HubFull
from gpu_monitor.web.stream.viewer import Viewer
from tests.support.web_house import wait_for

ANYONE = Person("", "commands")
LIMITS = WebLimits(viewers=10, stall_seconds=20.0)


class Pipe(asyncio.Transport):
    """A connection whose other end reads only as much as the test allows; also its own socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *_option: Any) -> None:
        pass

    def fileno(self) -> int:
        return -1 if self.aborted else 0

    def abort(self) -> None:
        self.aborted = True

    def drain(self) -> list[tuple[str, int]]:
        """Type and sequence of the messages written since the last call."""
        messages, data = [], self.written
        self.written = b""
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            message = json.loads(data[start : start + size])
            messages.append((message["type"], message["sequence"]))
            data = data[start + size :]
        return messages


class Scene:
    """A hub at second `now`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.document: dict[str, Any] = {"now": 1.0, "hosts": {}}
        self.hub = Hub(self.document, lambda: self.now, LIMITS)

    def join(self) -> tuple[Viewer, Pipe]:
        """A viewer whose fleet is being encoded."""
        pipe = Pipe()
        viewer = Viewer("here", ANYONE, web.WebSocketResponse(), pipe)
        self.hub.join(viewer, JSON, None)
        return viewer, pipe

    async def enter(self) -> tuple[Viewer, Pipe]:
        """A viewer that has received its fleet."""
        viewer, pipe = self.join()
        await wait_for(lambda: pipe.written != b"")
        return viewer, pipe

    def publish(self, seconds: float = 0.5) -> None:
        """Publish a patch, this many seconds after the last."""
        self.now += seconds
        self.hub.publish(self.document, {"now": self.now})

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.hub.tick()


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_viewer_with_an_empty_buffer_receives_each_patch(scene: Scene) -> None:
    _, pipe = await scene.enter()
    scene.publish()
    scene.publish()
    assert pipe.drain() == [("fleet", 1), ("patch", 2), ("patch", 3)]


async def test_nothing_is_written_behind_unsent_bytes(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.drain()
    pipe.unsent = 10
    scene.publish()
    scene.tick()
    assert pipe.drain() == []


async def test_a_viewer_that_missed_a_few_frames_receives_those(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.drain()
    pipe.unsent = 10
    scene.publish()
    scene.publish()
    pipe.unsent = 0
    scene.tick()
    scene.publish()
    assert pipe.drain() == [("patch", 2), ("patch", 3), ("patch", 4)]


async def test_a_viewer_that_missed_many_frames_receives_a_fresh_fleet(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.drain()
    pipe.unsent = 10
    for _ in range(10):
        scene.publish(0.1)
    pipe.unsent = 0
    scene.tick()
    await wait_for(lambda: pipe.written != b"")
    scene.publish()
    assert pipe.drain() == [("fleet", 11), ("patch", 12)]


async def test_patches_published_while_a_fleet_is_encoded_follow_it(scene: Scene) -> None:
    _, pipe = scene.join()
    await asyncio.sleep(0)
    for _ in range(20):
        scene.publish(0.1)
    await wait_for(lambda: pipe.written != b"")
    messages = pipe.drain()
    assert messages[0][0] == "fleet"
    assert [sequence for _, sequence in messages] == list(range(messages[0][1], 22))


async def test_a_viewer_that_reads_nothing_for_20_seconds_is_cut(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.unsent = 1000
    scene.publish()
    scene.tick(LIMITS.stall_seconds - 0.6)
    assert not pipe.aborted
    scene.tick(0.6)
    assert pipe.aborted
    assert len(scene.hub) == 0
    assert scene.hub.cut == {"slow": 1, "silent": 0}


async def test_a_viewer_that_keeps_reading_is_never_cut(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.unsent = 100
    scene.publish()
    for _ in range(50):
        pipe.unsent -= 1
        scene.tick(LIMITS.stall_seconds - 0.1)
    assert not pipe.aborted
    scene.tick(LIMITS.stall_seconds)
    assert pipe.aborted


async def test_waiting_for_a_fleet_to_be_encoded_is_no_stall(scene: Scene) -> None:
    _, pipe = scene.join()
    scene.tick(LIMITS.stall_seconds)
    assert not pipe.aborted
    await wait_for(lambda: pipe.written != b"")


async def test_a_patch_goes_out_even_if_the_broker_is_silent(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.drain()
    scene.tick(PATCH_SECONDS - 0.1)
    assert pipe.drain() == []
    scene.tick(0.2)
    assert pipe.drain() == [("patch", 2)]


async def test_a_viewer_that_left_receives_nothing(scene: Scene) -> None:
    viewer, pipe = await scene.enter()
    pipe.drain()
    scene.hub.leave(viewer)
    scene.hub.leave(viewer)
    scene.publish()
    assert pipe.drain() == []
    assert len(scene.hub) == 0


async def test_viewers_refused_for_lack_of_room_are_counted(scene: Scene) -> None:
    for _ in range(LIMITS.viewers):
        scene.hub.check_room("here", None, "commands")
        scene.join()
    with pytest.raises(HubFull, match="all 10 places"):
        scene.hub.check_room("there", None, "commands")
    assert scene.hub.refused == 1


async def test_closing_resets_a_viewer_that_has_not_read_everything(scene: Scene) -> None:
    _, pipe = await scene.enter()
    pipe.drain()
    pipe.unsent = 10
    await scene.hub.close()
    assert pipe.aborted and pipe.written == b""
    assert len(scene.hub) == 0
    assert scene.hub.cut == {"slow": 0, "silent": 0}
