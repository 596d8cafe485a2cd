"""The keys of config.yml: default, check and unit. config.yml itself explains them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gpu_monitor.config import values
from gpu_monitor.config.scalars import Written
from gpu_monitor.config.values import seconds, whole

if TYPE_CHECKING:
    from gpu_monitor.collector.settings import Commands
    from gpu_monitor.web.settings import Mode, Role

MAX_TICK_SECONDS = 1.0
"""Web servers expect to hear from the broker at least this often."""

Value = TypeVar("Value")


class Key(NamedTuple):
    """One key of config.yml. `unit` is "" for a value without one."""

    default: object
    check: Callable[[Written], object]
    unit: str


_keys: list[Key] = []


def _key(default: Value, check: Callable[[Written], object], unit: str = "") -> Value:
    """Return `default`, for a field of Config, and record the key for KEYS."""
    _keys.append(Key(default, check, unit))
    return default


class Config(NamedTuple):
    """The contents of config.yml: a field per key, with a default that suits one machine."""

    web_port: int = _key(8042, whole(0, 65535), "port")
    web_bind: str = _key("127.0.0.1", values.address, "address")
    base_path: str = _key("", values.base_path, "path")
    sign_in: "Mode" = _key("none", values.choice("none", "token", "basic", "proxy"))
    viewers: str = _key("", values.file, "path")
    viewer_role: "Role" = _key("commands", values.choice("commands", "names", "counts"))
    user_header: str = _key("X-Remote-User", values.header)
    trusted_proxies: tuple[str, ...] = _key(
        ("127.0.0.1", "::1"), values.networks, "addresses or networks"
    )
    allowed_origins: tuple[str, ...] = _key((), values.origins, "origins")
    web_hosts: tuple[str, ...] = _key((), values.host_list, "names")
    hosts: tuple[str, ...] = _key((), values.host_list, "names or addresses")
    broker: str = _key("127.0.0.1", values.host, "name or address")
    rpc_port: int = _key(8043, whole(0, 65535), "port")
    rpc_bind: str = _key("", values.address_or_nothing, "address")
    rpc_timeout: float = _key(2.0, seconds(1.5, 3600), "seconds")
    interval: float = _key(1.0, seconds(0.1, 600), "seconds")
    tick: float = _key(0.5, seconds(0.02, MAX_TICK_SECONDS), "seconds")
    updates_port: int = _key(8044, whole(0, 65535), "port")
    updates_bind: str = _key("127.0.0.1", values.address, "address")
    keys: str = _key("", values.folder, "folder")
    commands: "Commands" = _key("name", values.commands)
    container_socket: str = _key("", values.unix_socket, "path")
    name: str = _key("", values.own_name)
    free_memory_mib: int = _key(500, whole(0, 1_000_000), "MiB")
    held_idle_after: float = _key(1800.0, seconds(1, 31_536_000), "seconds")
    never_idle: tuple[str, ...] = _key((), values.commands_shown, "commands")
    forget_after: float = _key(86400.0, seconds(1, 315_360_000), "seconds")


KEYS = dict(zip(Config._fields, _keys, strict=True))
