"""The keys of config.yml: default, unit and meaning."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from collector.settings import Commands
from gpu_monitor import values
from gpu_monitor.values import Written, seconds, whole
from web.settings import Mode, Role

HEARTBEAT_SECONDS = 1.0
"""The broker is heard at least this often, so a timeout below it would cry wolf."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of config.yml. `unit` is "" where the value has none."""

    name: str
    default: object
    check: Callable[[Written], object]
    unit: str
    help: str


def _about(check: Callable[[Written], object], unit: str, help: str) -> dict[str, Any]:
    return {"check": check, "unit": unit, "help": help}


@dataclass(frozen=True)
class Config:
    """What config.yml says; each field is a key of it, with the default that suits one machine."""

    web_port: int = field(
        default=8042, metadata=_about(whole(0, 65535), "port", "the page; 0 takes any free port")
    )
    web_bind: str = field(
        default="127.0.0.1",
        metadata=_about(values.address, "address", "from where the page can be opened"),
    )
    base_path: str = field(
        default="",
        metadata=_about(values.base_path, "path", "where a reverse proxy mounts the page"),
    )
    sign_in: Mode = field(
        default="none",
        metadata=_about(
            values.choice("none", "token", "basic", "proxy"), "", "how viewers sign in to the page"
        ),
    )
    viewers: str = field(
        default="", metadata=_about(values.file, "path", "the file of those who may sign in")
    )
    viewer_role: Role = field(
        default="commands",
        metadata=_about(
            values.choice("commands", "names", "counts"), "", "what is seen by all, or by default"
        ),
    )
    user_header: str = field(
        default="X-Remote-User",
        metadata=_about(values.header, "", "in which a proxy says who has signed in"),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=("127.0.0.1", "::1"),
        metadata=_about(values.networks, "addresses or networks", "proxies that are believed"),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=_about(values.origins, "origins", "other sites that may open the websocket"),
    )
    hosts: tuple[str, ...] = field(
        default=(),
        metadata=_about(values.host_list, "names or addresses", "who is expected to report"),
    )
    broker: str = field(
        default="127.0.0.1",
        metadata=_about(
            values.host, "name or address", "where collectors push and web servers listen"
        ),
    )
    rpc_port: int = field(
        default=8043, metadata=_about(whole(0, 65535), "port", "collectors push to it")
    )
    rpc_bind: str = field(
        default="",
        metadata=_about(values.address_or_nothing, "address", "where the broker hears collectors"),
    )
    rpc_timeout: float = field(
        default=2.0,
        metadata=_about(seconds(1.5, 3600), "seconds", "a host not heard for this long is stale"),
    )
    interval: float = field(
        default=1.0,
        metadata=_about(seconds(0.1, 600), "seconds", "time between two samples of a host"),
    )
    tick: float = field(
        default=0.5,
        metadata=_about(
            seconds(0.02, HEARTBEAT_SECONDS), "seconds", "how often the broker publishes changes"
        ),
    )
    updates_port: int = field(
        default=8044, metadata=_about(whole(0, 65535), "port", "web servers listen to it")
    )
    updates_bind: str = field(
        default="127.0.0.1",
        metadata=_about(values.address, "address", "where the broker serves web servers"),
    )
    keys: str = field(
        default="",
        metadata=_about(values.folder, "folder", "CURVE keys for both links; empty: none"),
    )
    commands: Commands = field(
        default="name",
        metadata=_about(values.commands, "", "how much of a command line leaves its host"),
    )
    name: str = field(
        default="", metadata=_about(values.own_name, "", "what this machine calls itself")
    )
    free_memory_mib: int = field(
        default=500,
        metadata=_about(whole(0, 1_000_000), "MiB", "a free GPU has less than this used"),
    )
    held_idle_after: float = field(
        default=1800.0,
        metadata=_about(
            seconds(1, 31_536_000), "seconds", "a held GPU without work this long is held idle"
        ),
    )
    forget_after: float = field(
        default=86400.0,
        metadata=_about(
            seconds(1, 315_360_000), "seconds", "an unlisted silent host is removed after this"
        ),
    )


KEYS = {key.name: Key(key.name, key.default, **key.metadata) for key in fields(Config)}
