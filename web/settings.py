"""What a web server needs to know; read from config.yml at the door."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WebSettings:
    """`updates_endpoint` is the broker's; `base_path` is "" or "/gpus", without a closing slash.

    `rpc_timeout` (seconds): a broker not heard for that long is lost.
    """

    updates_endpoint: str = "tcp://127.0.0.1:8044"
    web_bind: str = "127.0.0.1"
    web_port: int = 8042
    base_path: str = ""
    rpc_timeout: float = 2.0
