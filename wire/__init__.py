"""What travels between collector, broker and web: names, limits, msgpack, merge patches."""

__version__ = "0.1.0"
