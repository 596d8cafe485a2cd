"""A collector's settings, read from config.yml by the command."""

from typing import Literal, NamedTuple

Commands = Literal["name", "scrubbed", "full", "off"]


class CollectorSettings(NamedTuple):
    """`name` is what the host calls itself; the broker decides under which name it is shown.

    `interval` and `rpc_timeout` are seconds. `state_folder` is where idle times are kept over a
    restart (systemd's RuntimeDirectory); None keeps them in memory only. `keys` is the folder of
    CURVE keys and `container_socket` the socket of Docker or Podman; empty for none.
    """

    name: str
    endpoint: str = "tcp://127.0.0.1:8043"
    interval: float = 1.0
    rpc_timeout: float = 2.0
    commands: Commands = "name"
    state_folder: str | None = None
    keys: str = ""
    container_socket: str = ""
