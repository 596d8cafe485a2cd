"""What a web server needs to know; read from config.yml at the door."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["counts", "names", "commands"]
"""What a viewer may see: nobody's name; users, but not what they run; everything."""
Mode: TypeAlias = Literal["none", "token", "basic", "proxy"]
"""How viewers sign in."""


@dataclass(frozen=True)
class WebSettings:
    """`updates_endpoint` is the broker's; `base_path` is "" or "/gpus", without a closing slash.

    `rpc_timeout` (seconds): a broker not heard for that long is lost. `viewers` is the file of
    those who may sign in, "" for none. `viewer_role` is that of everybody where `viewers` does
    not say. `trusted_proxies` are addresses and networks. `web_hosts` are names of this server
    beside the machine's own. `keys` is the folder of CURVE keys, "" for none; a broker in the same
    process asks for none. `warnings` are words for the page, such as that everybody may read it.
    """

    updates_endpoint: str = "tcp://127.0.0.1:8044"
    web_bind: str = "127.0.0.1"
    web_port: int = 8042
    base_path: str = ""
    rpc_timeout: float = 2.0
    sign_in: Mode = "none"
    viewers: str = ""
    viewer_role: Role = "commands"
    user_header: str = "X-Remote-User"
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    allowed_origins: tuple[str, ...] = ()
    web_hosts: tuple[str, ...] = ()
    keys: str = ""
    warnings: tuple[str, ...] = ()
