"""Peers that send as fast as TCP takes it; each runs as a process of its own."""

import argparse
import itertools
import socket
import time

import zmq

from gpu_monitor.wire.curve.keys import client_keys

_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\x00") + bytes(32)
_BLOCK_BYTES = 1 << 16


def greet(connection: socket.socket, kind: bytes) -> None:
    """Makes the handshake of a ZeroMQ socket of this type without keys (ZMTP 3.0, RFC 23)."""
    connection.sendall(_GREETING)
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    connection.sendall(b"\x04" + len(ready).to_bytes(1, "big") + ready)
    connection.recv(4096)


def flood(address: tuple[str, int], kind: bytes, frame: bytes) -> None:
    """Repeats the bytes of a frame until it is killed; connects anew whenever it is cut off."""
    block = frame * (_BLOCK_BYTES // len(frame))
    while True:
        try:
            with socket.create_connection(address, timeout=1.0) as connection:
                greet(connection, kind)
                while True:
                    connection.sendall(block)
        except OSError:
            time.sleep(0.01)


def flood_with_keys(address: tuple[str, int], folder: str, frame: bytes) -> None:
    """The same through libzmq, with a machine's keys; the frame's length bytes are left out."""
    dealer = zmq.Context().socket(zmq.DEALER)
    client_keys(folder).lock(dealer)
    dealer.connect("tcp://{}:{}".format(*address))
    for _ in itertools.count():
        dealer.send(frame[2:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("kind", type=str.encode)
    parser.add_argument("frame", type=bytes.fromhex)
    parser.add_argument("--keys")
    given = parser.parse_args()
    target = ("127.0.0.1", given.port)
    if given.keys:
        flood_with_keys(target, given.keys, given.frame)
    flood(target, given.kind, given.frame)
