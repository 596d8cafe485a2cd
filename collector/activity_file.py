"""Idle times kept in a file over a restart of the collector."""

import json
import logging
import math
import os

from gpu_monitor.collector.activity import Idle

log = logging.getLogger(__name__)

KEEP_SECONDS = 30.0
_FILE = "idle.json"
_MAX_BYTES = 4 << 20
_RUBBISH = (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError)


def load(folder: str | None, boot_id: str) -> dict[str, Idle]:
    """What was kept in `folder` in this boot; nothing where that cannot be read, or is rubbish."""
    if folder is None:
        return {}
    path = os.path.join(folder, _FILE)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
        if content["boot_id"] != boot_id:  # the times are counted from a boot
            return {}
        return {str(key): _idle(*values) for key, values in content["idle"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, *_RUBBISH) as error:
        log.warning("idle times in %s not readable, starting anew: %r", path, error)
        return {}


def _idle(since: float | None, blip_at: float | None, seen_at: float) -> Idle:
    for value in (since, blip_at, seen_at):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{value} is no time")
    return Idle(since, blip_at, float(seen_at))


class Keeper:
    """Writes idle times at most every 30 s, whole or not at all; says once when it cannot.

    Without a folder it writes nothing, in as regular turns: what is too old is forgotten in them.
    """

    def __init__(self, folder: str | None, boot_id: str) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self._kept_at: float | None = None
        self._failed = False

    def due(self, now: float) -> bool:
        """Whether it is time to write again; `now` in seconds of any clock that runs on."""
        return self._kept_at is None or now - self._kept_at >= KEEP_SECONDS

    def write(self, idle: dict[str, Idle], now: float) -> None:
        """Replace the file; a disk that is full or read-only costs the memory, nothing else."""
        self._kept_at = now
        if self._folder is None:
            return
        kept = {key: (value.since, value.blip_at, value.seen_at) for key, value in idle.items()}
        text = json.dumps({"boot_id": self._boot_id, "idle": kept})
        path = os.path.join(self._folder, _FILE)
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(path + ".new", path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("idle times will not survive a restart: %s", error)
            self._failed = True
