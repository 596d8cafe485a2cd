"""What a snapshot costs the broker apart from its sockets, also beside an odd host.

    python bench/ingest.py [--hosts 1000] [--gpus 8] [--seconds 20]

One process receives what the collectors of a fleet send in these seconds and publishes twice a
second. CPU is that of receiving and publishing alone; what changes from one second to the next:
bench/fleet/senders.py. Each line is a fleet of its own: all hosts alike; all but one, whose number
of processes is another one each second (0 to 512); all but one, whose bytes another msgpack
library made. The odd host itself is not counted. Prints figures, asserts nothing.
"""

import argparse
import gc
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.fleet.senders import Message, snapshot  # noqa: E402 - the repository need not be installed
from gpu_monitor.broker.document import Published  # noqa: E402
from gpu_monitor.broker.fleet import Fleet  # noqa: E402
from gpu_monitor.broker.ingest import Ingest  # noqa: E402
from gpu_monitor.broker.peer_identity import Directory  # noqa: E402
from gpu_monitor.broker.settings import BrokerSettings  # noqa: E402
from gpu_monitor.wire.codec import pack  # noqa: E402

WARM_UP_SECONDS = 3
TICKS_PER_SECOND = 2
HEADER_BYTES = 9
"""Of a ZeroMQ frame, before the message."""
ODD_HOST = 0
MAX_PROCESSES = 512

OddMessage = Callable[[int], bytes]
"""The odd host's message of a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    gc.disable()
    odd: dict[str, OddMessage | None] = {
        "all alike": None,
        "one with 0 to 512 processes": lambda second: changing_processes(second, options.gpus),
        "one with another packer": lambda second: other_packer(second, options.gpus),
    }
    alike = 0.0
    for what, message in odd.items():
        each = cost(options, message)
        alike = alike or each
        print(f"{what:30} {each:6.1f} us a snapshot  {each / alike:5.2f}")


def cost(options: argparse.Namespace, odd: OddMessage | None) -> float:
    """Microseconds of CPU per snapshot of all hosts but the odd one."""
    chance = random.Random(7)
    senders = [Message(number, options.gpus, chance) for number in range(options.hosts)]
    settings = BrokerSettings()
    fleet = Fleet((), settings.rpc_timeout, settings.forget_after)
    ingest = Ingest(fleet, Directory(()), lambda: None)
    published = Published(settings, fleet, time.time())
    spent = 0.0
    for second in range(WARM_UP_SECONDS + options.seconds):
        messages = [bytes(sender.at(second, chance))[HEADER_BYTES:] for sender in senders]
        messages = [at_time(message, second) for message in messages]
        counted = second >= WARM_UP_SECONDS
        for tick in range(TICKS_PER_SECOND):
            if odd is not None and not tick:
                ingest.ingest(odd(second), "127.0.0.1", second + 0.0)
            began = time.process_time()
            for number in range(tick, options.hosts, TICKS_PER_SECOND):
                if odd is None or number != ODD_HOST:
                    at = second + number / options.hosts
                    ingest.ingest(messages[number], "127.0.0.1", at)
            fleet.mark_stale(second + tick / 2)
            published.advance(second + tick / 2, time.time(), ingest.refusals.counts)
            spent += counted * (time.process_time() - began)
    assert published.document["totals"]["hosts_live"] == options.hosts, ingest.refusals.counts
    return float(1e6 * spent / options.seconds / options.hosts)


BOOTTIME_KEY = pack("sampled_boottime")


def at_time(message: bytes, second: int) -> bytes:
    """The message as if sampled in that second after boot, whatever time it is."""
    place = message.index(BOOTTIME_KEY) + len(BOOTTIME_KEY)
    return message[:place] + struct.pack(">Bd", 0xCB, float(second)) + message[place + 9 :]


def odd_snapshot(second: int, gpus: int) -> dict[str, Any]:
    message = snapshot(ODD_HOST, gpus)
    clocks = {"sequence": 100_000 + second, "sampled_boottime": float(second)}
    return message | clocks | {"sampled_at": time.time()}


def changing_processes(second: int, gpus: int) -> bytes:
    message = odd_snapshot(second, gpus)
    count = 37 * second % (MAX_PROCESSES + 1)
    rows = [row % gpus for row in range(count)]
    table = {key: [column[row] for row in rows] for key, column in message["processes"].items()}
    table["pid"] = list(range(count))
    return pack(message | {"processes": table})


def other_packer(second: int, gpus: int) -> bytes:
    """Whole numbers in 64 bits each, as some libraries write them."""
    return _pack_wide(odd_snapshot(second, gpus))


def _pack_wide(value: Any) -> bytes:
    if type(value) is int:
        return struct.pack(">BQ", 0xCF, value)
    if type(value) is list:
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(_pack_wide, value))
    if type(value) is dict:
        members = (pack(key) + _pack_wide(member) for key, member in value.items())
        return struct.pack(">BH", 0xDE, len(value)) + b"".join(members)
    return pack(value)


if __name__ == "__main__":
    main()
