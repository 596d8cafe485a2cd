"""The door: the `gpu-monitor` command."""

from wire import __version__

__all__ = ["__version__"]
