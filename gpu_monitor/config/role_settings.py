"""The settings of each role, derived from config.yml."""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gpu_monitor.collector.settings import CollectorSettings
from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config
from gpu_monitor.config.values import is_address

if TYPE_CHECKING:
    from gpu_monitor.broker.settings import BrokerSettings
    from gpu_monitor.web.settings import WebSettings

RPC_INPROC = "inproc://gpu-monitor-rpc"
UPDATES_INPROC = "inproc://gpu-monitor-updates"

_UNENCRYPTED = {
    "token": "tokens are sent",
    "basic": "passwords are sent",
    "proxy": "the names of viewers and what they see are sent",
}
"""By mode of sign_in, what is sent in the clear where there is no TLS."""
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


def collector_settings(config: Config, endpoint: str = "") -> CollectorSettings:
    """`endpoint` of a broker in this process; empty: the broker that config.yml names."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd passes a list
    return CollectorSettings(
        name=config.name or own_name(),
        endpoint=endpoint or rpc_endpoint(config),
        interval=config.interval,
        rpc_timeout=config.rpc_timeout,
        commands=config.commands,
        state_folder=folder or None,
        keys="" if endpoint else _usable(config.keys),
        container_socket=config.container_socket,
    )


def broker_settings(config: Config, *, one_process: bool = False) -> "BrokerSettings":
    """With `one_process` the broker also listens inside the process, on the first endpoints."""
    from gpu_monitor.broker.settings import (
        BrokerSettings,  # not at the top: a collector does not need it
    )

    rpc = _tcp(rpc_address(config), config.rpc_port)
    updates = _tcp(config.updates_bind, config.updates_port)
    return BrokerSettings(
        rpc_endpoints=(RPC_INPROC, rpc) if one_process else (rpc,),
        updates_endpoints=(UPDATES_INPROC, updates) if one_process else (updates,),
        hosts=config.hosts,
        own_name=config.name or own_name(),
        keys=_usable(config.keys, by_broker=True),
        interval=config.interval,
        rpc_timeout=config.rpc_timeout,
        tick=config.tick,
        free_memory_mib=config.free_memory_mib,
        held_idle_after=config.held_idle_after,
        never_idle=config.never_idle,
        forget_after=config.forget_after,
        warnings=tuple(link_warnings(config)),
    )


def web_settings(config: Config, endpoint: str = "") -> "WebSettings":
    """`endpoint` of a broker in this process; empty: the broker that config.yml names."""
    from gpu_monitor.web.settings import WebSettings  # not at the top, see above

    return WebSettings(
        updates_endpoint=endpoint or updates_endpoint(config),
        web_bind="" if config.web_bind == "*" else config.web_bind,
        web_port=config.web_port,
        base_path=config.base_path,
        rpc_timeout=config.rpc_timeout,
        sign_in=config.sign_in,
        viewers=config.viewers if config.sign_in != "none" else "",
        viewer_role=config.viewer_role,
        user_header=config.user_header,
        trusted_proxies=config.trusted_proxies,
        allowed_origins=config.allowed_origins,
        web_hosts=web_hosts(config),
        keys="" if endpoint else _usable(config.keys),
        warnings=tuple(page_warnings(config)),
    )


def web_hosts(config: Config) -> tuple[str, ...]:
    """Names in config.yml under which the page may be opened."""
    names = (config.name, config.broker, *config.web_hosts)
    return tuple(dict.fromkeys(name for name in names if name and not is_address(name)))


def _usable(folder: str, *, by_broker: bool = False) -> str:
    """Return `folder` if its keys are usable, else raise ConfigError."""
    if folder:
        from gpu_monitor.wire.curve import keys  # not at the top: most sites use no keys

        try:
            (keys.own_pair if by_broker else keys.client_keys)(folder)
        except keys.KeysError as error:
            raise ConfigError([str(error)]) from None
    return folder


def rpc_endpoint(config: Config) -> str:
    """The endpoint that a collector connects to."""
    return _connect(config.broker, config.rpc_port, "rpc_port")


def updates_endpoint(config: Config) -> str:
    """The endpoint that a web server connects to."""
    return _connect(config.broker, config.updates_port, "updates_port")


def rpc_address(config: Config) -> str:
    """The address for collectors: loopback unless other machines are expected.

    With keys it is open: other hosts may be enrolled at any time, and strangers are refused.
    """
    if config.rpc_bind:
        return config.rpc_bind
    return "*" if config.keys or names_another_machine(config.hosts) else "127.0.0.1"


def names_another_machine(hosts: Iterable[str]) -> bool:
    """Whether one of `hosts` is neither this machine's name nor one of its own addresses.

    Resolves no names: a dead name server must not delay the start.
    """
    hosts = {host.lower() for host in hosts if not _LOOPBACK.fullmatch(host.lower())}
    if not hosts:
        return False
    import psutil  # not at the top: a web server alone does not need it

    own = os.uname().nodename.lower()
    addresses = {
        address.address.partition("%")[0].lower()
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    }
    return not hosts <= {own, own.partition(".")[0]} | addresses


def binds_too_narrowly(config: Config) -> bool:
    """Whether other machines are expected, but the broker listens on loopback only."""
    return is_loopback(rpc_address(config)) and names_another_machine(config.hosts)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens on `address`."""
    return _LOOPBACK.fullmatch(address) is not None


def link_warnings(config: Config) -> Iterable[str]:
    """Warnings, for log and page, about broker ports that are open without keys."""
    if config.keys:
        return
    rpc = rpc_address(config)
    if not is_loopback(rpc):
        yield (
            f"rpc_port {config.rpc_port} is open on {_where(rpc)} without keys: hosts are "
            "identified by their address only, and what they send can be read in transit"
        )
    if not is_loopback(config.updates_bind):
        yield (
            f"updates_port {config.updates_port} is open on {_where(config.updates_bind)} without "
            "keys: anyone who can reach it can read the state of the fleet"
        )


def page_warnings(config: Config) -> Iterable[str]:
    """Warnings, for log and page, about a page that is open to other machines."""
    if is_loopback(config.web_bind):
        return
    port = f"port {config.web_port} on {_where(config.web_bind)}"
    if config.sign_in == "none":
        yield f"anyone who can reach {port} can read the page"
    else:
        yield (
            f"{_UNENCRYPTED[config.sign_in]} unencrypted to {port}; let only a proxy with "
            "TLS reach it"
        )


def check_viewers(config: Config) -> None:
    """Raise ConfigError if sign-in needs the file of viewers and it cannot be read."""
    if config.sign_in == "none" or not config.viewers:
        return
    from gpu_monitor.web.auth.accounts import AccountsError, read

    try:
        read(config.viewers)
    except AccountsError as error:
        raise ConfigError([f"viewers: {error}"]) from None


def own_name() -> str:
    """This machine's host name, with characters replaced that the document does not allow."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", os.uname().nodename)[:253] or "localhost"


def _where(address: str) -> str:
    return "all interfaces" if address in ("*", "0.0.0.0", "::") else address


def _connect(address: str, port: int, key: str) -> str:
    if port == 0:
        message = "0 (any free port) works only in one process; write the broker's port"
        raise ConfigError([f"{key}: {message}"])
    return _tcp(address, port)


def _tcp(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{port or '*'}"
