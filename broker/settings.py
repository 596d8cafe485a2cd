"""What a broker needs to know; read from config.yml at the door."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokerSettings:
    """Times in seconds, memory in MiB.

    `rpc_endpoints` and `updates_endpoints` are bound, in this order (`inproc://` in one process,
    `tcp://` for others). `hosts` is who is expected and who may report; empty means any name
    from this machine. `keys` is a folder of CURVE keys: then those may report and listen whose
    keys are enrolled in it, wherever they are. `never_idle` are commands, or their first words,
    that may hold a GPU and do nothing. `warnings` are words for the page, such as a link
    without keys.
    """

    rpc_endpoints: tuple[str, ...] = ("tcp://127.0.0.1:8043",)
    updates_endpoints: tuple[str, ...] = ("tcp://127.0.0.1:8044",)
    hosts: tuple[str, ...] = ()
    own_name: str = ""
    keys: str = ""
    interval: float = 1.0
    rpc_timeout: float = 2.0
    tick: float = 0.5
    free_memory_mib: int = 500
    held_idle_after: float = 1800.0
    never_idle: tuple[str, ...] = ()
    forget_after: float = 86400.0
    simulated: bool = False
    warnings: tuple[str, ...] = ()
