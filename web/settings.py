"""The settings of a web server, read from config.yml."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["counts", "names", "commands"]
"""What a viewer may see: no users; users, but not what they run; everything."""
Mode: TypeAlias = Literal["none", "token", "basic", "proxy"]
"""How viewers sign in."""


@dataclass(frozen=True)
class WebSettings:
    """Where to find the broker, where to listen, who may see what.

    `updates_endpoint` is the broker's. `base_path` is "" or, for example, "/gpus", without a
    trailing slash. A broker that is silent for `rpc_timeout` seconds is lost. `viewers` is the
    path of the viewers' file, "" for none; `viewer_role` is the role of everyone not in it.
    `trusted_proxies` are addresses and networks. `web_hosts` are names of this server other than
    the machine's own. `keys` is the folder of CURVE keys, "" for none; a broker in the same
    process needs none. The page shows `warnings`, for example that everyone can read it.
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


@dataclass(frozen=True)
class WebLimits:
    """Limits that no key of config.yml sets."""

    viewers: int = 5_000
    viewers_per_address: int = 2_500
    """Half, so that one address never takes every place. A proxy, behind which all viewers share
    an address, still carries more of them than any fleet has."""
    host_choices: int = 64
    """Distinct values of `hosts=`: each costs an encoding of its own at every tick."""
    host_choices_per_address: int = 16
    """A quarter, so that one client does not take them from all others."""
    stall_seconds: float = 20.0
    """A viewer that takes no byte for this long is cut."""
    ping_seconds: float = 240.0
    """A ping follows this much silence. The answer may take half as long, because it waits behind
    unread frames: a fleet of 10,000 GPUs takes 85 s at 64 kbit/s."""
    seconds_per_guess: float = 6.0
    """After 10 wrong tokens or passwords, an address may try another each time this has passed."""
    connections: int = 6_000
    """A thousand beside the viewers'; fewer if the limit of open files does not allow as many."""
    request_seconds: float = 10.0
    """The headers of a request, and then its body, may take this long to arrive."""
