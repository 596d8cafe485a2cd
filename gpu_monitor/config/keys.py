"""The keys of config.yml: default, unit and meaning."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gpu_monitor.config import values
from gpu_monitor.config.values import Written, seconds, whole

if TYPE_CHECKING:
    from gpu_monitor.collector.settings import Commands
    from gpu_monitor.web.settings import Mode, Role

HEARTBEAT_SECONDS = 1.0
"""The broker is heard at least this often, so a timeout below it would cry wolf."""


Value = TypeVar("Value")


class Key(NamedTuple):
    """One key of config.yml. `unit` is "" where the value has none."""

    default: object
    check: Callable[[Written], object]
    unit: str
    help: str


_about: list[Key] = []


def _key(default: Value, check: Callable[[Written], object], unit: str, help: str) -> Value:
    """The default of a field of Config; what else is known of its key stands in KEYS."""
    _about.append(Key(default, check, unit, help))
    return default


class Config(NamedTuple):
    """What config.yml says; each field is a key of it, with the default that suits one machine."""

    web_port: int = _key(8042, whole(0, 65535), "port", "the page; 0 takes any free port")
    web_bind: str = _key(
        "127.0.0.1", values.address, "address", "from where the page can be opened"
    )
    base_path: str = _key("", values.base_path, "path", "where a reverse proxy mounts the page")
    sign_in: "Mode" = _key(
        "none",
        values.choice("none", "token", "basic", "proxy"),
        "",
        "how viewers sign in to the page",
    )
    viewers: str = _key("", values.file, "path", "the file of those who may sign in")
    viewer_role: "Role" = _key(
        "commands",
        values.choice("commands", "names", "counts"),
        "",
        "what is seen by all, or by default",
    )
    user_header: str = _key(
        "X-Remote-User", values.header, "", "in which a proxy says who has signed in"
    )
    trusted_proxies: tuple[str, ...] = _key(
        ("127.0.0.1", "::1"), values.networks, "addresses or networks", "proxies that are believed"
    )
    allowed_origins: tuple[str, ...] = _key(
        (), values.origins, "origins", "other sites that may open the websocket"
    )
    web_hosts: tuple[str, ...] = _key((), values.host_list, "names", "by which the page is opened")
    hosts: tuple[str, ...] = _key(
        (), values.host_list, "names or addresses", "who is expected to report"
    )
    broker: str = _key(
        "127.0.0.1", values.host, "name or address", "where collectors push and web servers listen"
    )
    rpc_port: int = _key(8043, whole(0, 65535), "port", "collectors push to it")
    rpc_bind: str = _key(
        "", values.address_or_nothing, "address", "where the broker hears collectors"
    )
    rpc_timeout: float = _key(
        2.0, seconds(1.5, 3600), "seconds", "a host not heard for this long is stale"
    )
    interval: float = _key(1.0, seconds(0.1, 600), "seconds", "time between two samples of a host")
    tick: float = _key(
        0.5, seconds(0.02, HEARTBEAT_SECONDS), "seconds", "how often the broker publishes changes"
    )
    updates_port: int = _key(8044, whole(0, 65535), "port", "web servers listen to it")
    updates_bind: str = _key(
        "127.0.0.1", values.address, "address", "where the broker serves web servers"
    )
    keys: str = _key("", values.folder, "folder", "CURVE keys for both links; empty: none")
    commands: "Commands" = _key(
        "name", values.commands, "", "how much of a command line leaves its host"
    )
    container_socket: str = _key(
        "", values.unix_socket, "path", "Docker's or Podman's, for containers' names"
    )
    name: str = _key("", values.own_name, "", "what this machine calls itself")
    free_memory_mib: int = _key(
        500, whole(0, 1_000_000), "MiB", "a free GPU has less than this used"
    )
    held_idle_after: float = _key(
        1800.0, seconds(1, 31_536_000), "seconds", "a held GPU without work this long is held idle"
    )
    never_idle: tuple[str, ...] = _key(
        (), values.commands_shown, "commands", "they may hold a GPU and do nothing"
    )
    forget_after: float = _key(
        86400.0, seconds(1, 315_360_000), "seconds", "an unlisted silent host is removed after this"
    )


KEYS = dict(zip(Config._fields, _about, strict=True))
