"""What config.yml says, as the settings of each role."""

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

_IN_CLEAR = {
    "token": "tokens travel",
    "basic": "passwords travel",
    "proxy": "names of viewers and what they are shown travel",
}
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


def collector_settings(config: Config, endpoint: str = "") -> CollectorSettings:
    """`endpoint` is for a broker in the same process; left out, it is the broker's address."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd gives a list
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
    """With `one_process` the broker also listens inside the process, before all else."""
    from gpu_monitor.broker.settings import (
        BrokerSettings,  # only here: a collector has no use for it
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
    """`endpoint` is for a broker in the same process; left out, it is the broker's address."""
    from gpu_monitor.web.settings import WebSettings  # only here, as above

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
    """Names that config.yml has for the machine of the page, or may have."""
    names = (config.name, config.broker, *config.web_hosts)
    return tuple(dict.fromkeys(name for name in names if name and not is_address(name)))


def _usable(folder: str, *, by_broker: bool = False) -> str:
    """The folder of keys, or ConfigError with what is wrong in it."""
    if folder:
        from gpu_monitor.wire.curve import keys  # only here: most have no keys

        try:
            (keys.own_pair if by_broker else keys.client_keys)(folder)
        except keys.KeysError as error:
            raise ConfigError([str(error)]) from None
    return folder


def rpc_endpoint(config: Config) -> str:
    """What a collector connects to."""
    return _connect(config.broker, config.rpc_port, "rpc_port")


def updates_endpoint(config: Config) -> str:
    """What a web server connects to."""
    return _connect(config.broker, config.updates_port, "updates_port")


def rpc_address(config: Config) -> str:
    """Where collectors are heard: loopback as long as no other machine is expected.

    With keys others may be let in at any time, and strangers are kept out.
    """
    if config.rpc_bind:
        return config.rpc_bind
    return "*" if config.keys or names_another_machine(config.hosts) else "127.0.0.1"


def names_another_machine(hosts: Iterable[str]) -> bool:
    """Whether one of `hosts` is neither this machine's name nor one of its own addresses.

    No name is resolved for it: a dead name server must not hold up the start.
    """
    hosts = {host.lower() for host in hosts if not _LOOPBACK.fullmatch(host.lower())}
    if not hosts:
        return False
    import psutil  # only here: a web server alone does not need it

    own = os.uname().nodename.lower()
    addresses = {
        address.address.partition("%")[0].lower()
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    }
    return not hosts <= {own, own.partition(".")[0]} | addresses


def hears_none_of_them(config: Config) -> bool:
    """Whether other machines are expected on an address that only this one reaches."""
    return is_loopback(rpc_address(config)) and names_another_machine(config.hosts)


def is_loopback(address: str) -> bool:
    """Whether what listens on `address` is heard by this machine only."""
    return _LOOPBACK.fullmatch(address) is not None


def link_warnings(config: Config) -> Iterable[str]:
    """Words for log and page while a link of the broker leaves the machine without keys."""
    if config.keys:
        return
    rpc = rpc_address(config)
    if not is_loopback(rpc):
        yield (
            f"rpc_port {config.rpc_port} is open on {_where(rpc)} without keys: hosts are told by "
            "their address only, and what they send can be read on the way"
        )
    if not is_loopback(config.updates_bind):
        yield (
            f"updates_port {config.updates_port} is open on {_where(config.updates_bind)} without "
            "keys: everyone who can reach it can read the fleet"
        )


def page_warnings(config: Config) -> Iterable[str]:
    """Words for log and page while the page can be opened from other machines."""
    if is_loopback(config.web_bind):
        return
    port = f"port {config.web_port} on {_where(config.web_bind)}"
    if config.sign_in == "none":
        yield f"the page is readable by everyone who can reach {port}"
    else:
        yield (
            f"{_IN_CLEAR[config.sign_in]} in clear to {port}, unless a proxy with TLS is in front "
            "and nothing else can reach it"
        )


def check_viewers(config: Config) -> None:
    """ConfigError when signing in needs a file of viewers that cannot be used."""
    if config.sign_in == "none" or not config.viewers:
        return
    from gpu_monitor.web.auth.accounts import AccountsError, read

    try:
        read(config.viewers)
    except AccountsError as error:
        raise ConfigError([f"viewers: {error}"]) from None


def own_name() -> str:
    """This machine's host name, as a name that may stand in the document."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", os.uname().nodename)[:253] or "localhost"


def _where(address: str) -> str:
    return "all interfaces" if address in ("*", "0.0.0.0", "::") else address


def _connect(address: str, port: int, key: str) -> str:
    if port == 0:
        words = "0 (any free port) is for one process; write the port that the broker listens on"
        raise ConfigError([f"{key}: {words}"])
    return _tcp(address, port)


def _tcp(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{port or '*'}"
