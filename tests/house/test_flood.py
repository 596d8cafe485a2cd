"""A flood of one of the broker's ports: others are served, memory stays, the log names it once."""

import sys
import time
from pathlib import Path

import pytest
import zmq

from gpu_monitor.wire.curve.keys import client_keys
from tests.support.house import PATIENCE_SECONDS, House, eventually, running
from tests.support.key_folders import KeyFolders

FLOOD_SECONDS = 4.0
LONGEST_GAP_SECONDS = 5.0  # once a second, and room for a busy machine
MEMORY_BYTES = 64 << 20
STOP_SECONDS = 2.0
SHORT = b"\x00\x02\x01x"
"""A message of two bytes (ZMTP 3.0, RFC 23)."""
LONG = b"\x02" + (1000).to_bytes(8, "big") + b"\x01" + b"x" * 999

pytestmark = pytest.mark.processes


class Follower:
    """A subscriber that measures how long it waits for patches."""

    def __init__(self, house: House, keys: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        if keys:
            client_keys(keys).lock(self._socket)
        self._socket.connect(f"tcp://127.0.0.1:{house.updates_port}")
        self._socket.send(b"patch")
        assert self._socket.poll(int(1000 * PATIENCE_SECONDS))

    def longest_gap(self, seconds: float) -> float:
        """The longest time without a patch in the next `seconds`."""
        began = last = time.monotonic()
        gap = 0.0
        while (now := time.monotonic()) < began + seconds:
            if self._socket.poll(100):
                self._socket.recv_multipart()
                gap, last = max(gap, now - last), now
        return max(gap, time.monotonic() - last)

    def close(self) -> None:
        self._context.destroy(linger=0)


def resident_bytes(house: House) -> int:
    pages = Path(f"/proc/{house.running['broker'].pid}/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.parametrize("keyed", [False, True], ids=["no keys", "keys"])
@pytest.mark.parametrize("frame", [SHORT, LONG], ids=["short", "long"])
def test_a_flood_of_requests_costs_only_the_flooder(
    house: House, tmp_path: Path, frame: bytes, keyed: bool
) -> None:
    folders = KeyFolders(tmp_path / "keys")
    own_keys = folders.web("page1") if keyed else ""
    keys = ("--keys", folders.web("flooder")) if keyed else ()
    house.start("broker", **({"keys": folders.broker} if keyed else {}), rpc_bind="127.0.0.1")
    follower = Follower(house, own_keys)
    before = resident_bytes(house)
    program = (sys.executable, "-m", "tests.support.flooder")
    with running(*program, str(house.updates_port), "DEALER", frame.hex(), *keys):
        eventually(lambda: "too many requests" in house.log("broker"), "the flooder to be cut off")
        gap = follower.longest_gap(FLOOD_SECONDS)
        grown = resident_bytes(house) - before
        began = time.monotonic()
        assert house.stop("broker") == 0
        stopped = time.monotonic() - began
    follower.close()
    assert gap < LONGEST_GAP_SECONDS and grown < MEMORY_BYTES and stopped < STOP_SECONDS
    assert house.log("broker").count("too many requests") == 1
