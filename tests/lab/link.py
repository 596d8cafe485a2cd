"""Forwards frames between two network interfaces like a slow, long or lossy line.

    python link.py ONE OTHER KBIT_A_SECOND DELAY_SECONDS LOSS     until it is killed

Each direction has a queue of two seconds, like a modem. Frames are dropped while it is full, and
otherwise at random, at the rate LOSS. It runs in user space, because not every kernel has netem.
"""

import heapq
import itertools
import random
import select
import socket
import sys
import time

ALL_PROTOCOLS = 3
SOL_PACKET, PACKET_VNET_HDR = 263, 15  # linux/if_packet.h; Python has no names for them
HEADER_BYTES = 10
"""The header of each frame, which states what part of the checksum is left to the network card."""
QUEUE_SECONDS = 2.0


def attach(interface: str) -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.bind((interface, ALL_PROTOCOLS))
    return packets


def carry(one: str, other: str, kbit: float, delay: float, loss: float) -> None:
    ends = [attach(one), attach(other)]
    chance, numbers = random.Random(7), itertools.count()
    free_at = [0.0, 0.0]
    under_way: list[tuple[float, int, int, bytes]] = []
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for end in select.select(ends, [], [], wait)[0]:
            frame, (_, _, kind, *_) = end.recvfrom(1 << 17)
            way, now = ends.index(end), time.monotonic()
            begins = max(now, free_at[way])
            is_full = begins - now > QUEUE_SECONDS
            if kind == socket.PACKET_OUTGOING or is_full or chance.random() < loss:
                continue
            free_at[way] = begins + (len(frame) - HEADER_BYTES) / (125 * kbit)
            heapq.heappush(under_way, (free_at[way] + delay, next(numbers), 1 - way, frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, way, frame = heapq.heappop(under_way)
            ends[way].send(frame)


if __name__ == "__main__":
    carry(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6]))
