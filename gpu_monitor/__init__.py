"""GPU Monitor: who is using which GPU, live. This package holds the `gpu-monitor` command."""

from gpu_monitor.wire import __version__

__all__ = ["__version__"]
