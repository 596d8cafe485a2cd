"""wire.broker_link over real sockets: requests, gaps, silence, a broker that returns."""

from collections.abc import AsyncIterator

import pytest
import zmq

from gpu_monitor.wire import broker_link
from gpu_monitor.wire.broker_link import RECONNECT_SECONDS, RENEW_SECONDS, Subscriber
from gpu_monitor.wire.codec import pack
from gpu_monitor.wire.replica import PICTURE_RETRY_SECONDS, Replica
from tests.support.links import StillClock
from tests.support.web_house import (
    SILENCE,
    Broker,
    Follower,
    make_fleet,
    make_host,
    wait_for,
    web_house,
)


class Link:
    """A subscriber on a clock that only the test moves, and the broker's socket."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.clock = StillClock()
        self._router = context.socket(zmq.ROUTER)
        self._router.linger = 0
        port = self._router.bind_to_random_port("tcp://127.0.0.1")
        replica = Replica({}, 2.0, self.clock())
        self.subscriber = Subscriber(
            f"tcp://127.0.0.1:{port}", context, replica, lambda patch: None, self.clock
        )

    async def received(self) -> bytes:
        """The next request, in order of arrival."""
        await wait_for(lambda: bool(self._router.poll(0)))
        return self._router.recv_multipart()[1]

    def close(self) -> None:
        self.subscriber.close()
        self._router.close()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = Link(context)
    yield link
    link.close()
    context.destroy(linger=0)


async def test_it_subscribes_to_patches_before_it_requests_the_picture() -> None:
    async with web_house() as house:
        assert await house.broker.next_request() == b"patch"
        question = await house.broker.next_request()
        assert question.startswith(b"picture/")
        assert len(question) == len(b"picture/") + 32


async def test_an_unanswered_request_is_sent_again_under_another_name(link: Link) -> None:
    assert await link.received() == b"patch"
    first = await link.received()
    link.clock.ahead += PICTURE_RETRY_SECONDS
    link.subscriber.poll()
    assert await link.received() == b"patch"
    second = await link.received()
    assert second.startswith(b"picture/") and second != first


async def test_the_subscription_is_renewed_every_second(link: Link) -> None:
    """Of a connection that libzmq has renewed, the broker knows nothing."""
    assert await link.received() == b"patch"
    assert (await link.received()).startswith(b"picture/")
    link.clock.ahead += RENEW_SECONDS
    link.subscriber.poll()
    assert await link.received() == b"patch"


async def test_an_answer_to_another_request_is_ignored() -> None:
    async with web_house() as house:
        topic = await house.broker.next_picture_request()
        house.broker.send_picture(b"picture/" + b"0" * 32)
        house.broker.send_picture(topic + b"0")
        house.broker.document = make_fleet(right=make_host())
        house.broker.send_picture(topic)
        fleet = await house.until("api/v1/fleet", lambda _, fleet: bool(fleet["hosts"]))
        assert fleet["hosts"].keys() == {"right"}


async def test_patches_before_and_after_the_picture_are_applied_in_order() -> None:
    async with web_house() as house:
        topic = await house.broker.next_picture_request()
        house.broker.send_patch({"hosts": {"before": make_host()}})
        house.broker.send_picture(topic)
        house.broker.send_patch({"hosts": {"after": make_host()}})
        fleet = await house.until("api/v1/fleet", lambda _, fleet: "after" in fleet["hosts"])
        assert fleet["hosts"].keys() == {"before", "after"}


async def test_a_picture_makes_up_for_a_lost_patch() -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.receive()
            house.broker.lose_patch({"hosts": {"lost": make_host()}})
            house.broker.send_patch({"hosts": {"next": make_host()}})
            house.broker.send_picture(await house.broker.next_picture_request())
            await viewer.until(lambda document: "next" in document["hosts"])
            assert viewer.document["hosts"].keys() == {"a", "lost", "next"}
            assert viewer.fleets == 1


async def test_a_broker_that_returns_is_shown_again_without_a_new_fleet() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host(), gone=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.receive()
            house.broker.close()
            await viewer.until(lambda document: document["broker"]["state"] == "lost")
            house.broker = Broker(house.broker.endpoint, run_id="run-2")
            await house.show(a=make_host(), new=make_host())
            await viewer.until(lambda document: document["broker"]["state"] == "live")
            assert viewer.document["hosts"].keys() == {"a", "new"}
            assert "heard_at" not in viewer.document["broker"]
            assert viewer.fleets == 1


async def test_a_broker_that_was_only_silent_is_live_again_with_a_picture() -> None:
    async with web_house(**SILENCE) as house:
        await house.show(a=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.until(lambda document: document["broker"]["state"] == "lost")
            house.broker.send_patch({"now": 1001.0})
            async with house.broker.answering():
                await viewer.until(lambda document: document["broker"]["state"] == "live")
            assert viewer.document["now"] == 1001.0


async def test_a_broker_that_stays_lost_is_reached_by_a_new_socket(link: Link) -> None:
    assert await link.received() == b"patch"
    link.clock.ahead += RECONNECT_SECONDS
    link.subscriber.poll()
    while await link.received() != b"patch":
        pass
    assert (await link.received()).startswith(b"picture/")


async def test_the_loss_and_the_return_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", broker_link.__name__)

    def lines() -> list[str]:
        return [
            record.levelname for record in caplog.records if record.name == broker_link.__name__
        ]

    async with web_house(**SILENCE) as house:
        await wait_for(lambda: lines() == ["WARNING"])
        await house.show()
        await wait_for(lambda: len(lines()) >= 3)
        assert set(lines()[::2]) == {"WARNING"} and set(lines()[1::2]) == {"INFO"}


async def test_a_broker_of_another_version_is_named() -> None:
    async with web_house() as house:
        house.broker.document = {**make_fleet(), "version": 2}
        async with house.broker.answering():
            answer = await house.until("readyz", lambda _, answer: "version" in answer["error"])
        assert answer["error"] == "the broker speaks version 2, this is 1"


async def test_what_is_no_message_of_a_broker_is_counted_logged_once_and_costs_no_viewer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_house() as house:
        await house.show(a=make_host())
        async with house.watch() as socket:
            viewer = Follower(socket)
            await viewer.receive()
            for frames in ([b"patch"], [b"patch", b"\xc1"], [b"patch", b"\x80", b""]):
                house.broker.send_raw(frames)
            house.broker.send_raw(
                [b"patch", pack({"run_id": "run-1", "sequence": 1, "patch": {"now": None}})]
            )
            house.broker.send_picture(await house.broker.next_picture_request())
            house.broker.send_patch({"hosts": {"next": make_host()}})
            await viewer.until(lambda document: "next" in document["hosts"])
            assert viewer.fleets == 1
        async with house.client.get(house.root + "metrics") as response:
            assert "gpu_monitor_web_malformed_updates_total 4" in await response.text()
    assert len([r for r in caplog.records if "no broker sends" in r.getMessage()]) == 1
