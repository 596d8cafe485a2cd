"""The settings of a broker, as read from config.yml."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokerSettings:
    """Times in seconds, memory in MiB.

    `rpc_endpoints` and `updates_endpoints` are bound in this order (`inproc://` within one process,
    `tcp://` for others). `hosts` are expected and may report; empty means any name from this
    machine. `keys` is a folder of CURVE keys: with it, peers whose keys are enrolled there may
    report and subscribe, wherever they are; it is read every `keys_poll_seconds`. `never_idle` are
    commands, or their first words, that may hold a GPU without using it. `warnings` are shown on
    the page, such as that of a link without keys.
    """

    rpc_endpoints: tuple[str, ...] = ("tcp://127.0.0.1:8043",)
    updates_endpoints: tuple[str, ...] = ("tcp://127.0.0.1:8044",)
    hosts: tuple[str, ...] = ()
    own_name: str = ""
    keys: str = ""
    keys_poll_seconds: float = 1.0
    interval: float = 1.0
    rpc_timeout: float = 2.0
    tick: float = 0.5
    free_memory_mib: int = 500
    held_idle_after: float = 1800.0
    never_idle: tuple[str, ...] = ()
    forget_after: float = 86400.0
    simulated: bool = False
    warnings: tuple[str, ...] = ()
