"""Records every frame that passes this network namespace until killed: python record.py FILE."""

import socket
import sys

ALL_PROTOCOLS = 3

with open(sys.argv[1], "wb") as file:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    while True:
        file.write(wire.recv(65536))
        file.flush()
