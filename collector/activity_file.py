"""Idle times kept in a file over a restart of the collector."""

import json
import logging
import math
import os

from gpu_monitor.collector.activity import Idle

log = logging.getLogger(__name__)

SAVE_IDLE_SECONDS = 30.0
_FILE = "idle.json"
_MAX_ACTIVITY_BYTES = 4 << 20
_INVALID = (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError)


def load_idle(folder: str | None, boot_id: str) -> dict[str, Idle]:
    """The idle times saved in `folder` during this boot; empty where there are none to be read."""
    if folder is None:
        return {}
    path = os.path.join(folder, _FILE)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MAX_ACTIVITY_BYTES))
        if content["boot_id"] != boot_id:  # the times are counted from a boot
            return {}
        return {str(key): _idle(*values) for key, values in content["idle"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, *_INVALID) as error:
        log.warning("idle times in %s cannot be read, starting without: %r", path, error)
        return {}


def _idle(since: float | None, blip_at: float | None, seen_at: float) -> Idle:
    for value in (since, blip_at, seen_at):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{value} is not a time")
    return Idle(since, blip_at, float(seen_at))


class ActivityFile:
    """Saves idle times every 30 s, whole or not at all; logs once when it cannot.

    Without a folder nothing is written, but `is_due` keeps the same pace: the collector forgets
    old idle times whenever it saves them.
    """

    def __init__(self, folder: str | None, boot_id: str) -> None:
        self._folder = folder
        self._boot_id = boot_id
        self._saved_at: float | None = None
        self._has_failed = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to save again; `now` in seconds of any clock that does not jump."""
        return self._saved_at is None or now - self._saved_at >= SAVE_IDLE_SECONDS

    def save(self, idle: dict[str, Idle], now: float) -> None:
        """Replace the file; a full or read-only disk costs the idle times at the next restart."""
        self._saved_at = now
        if self._folder is None:
            return
        kept = {key: (value.since, value.blip_at, value.seen_at) for key, value in idle.items()}
        text = json.dumps({"boot_id": self._boot_id, "idle": kept})
        path = os.path.join(self._folder, _FILE)
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(path + ".new", path)
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                log.warning("idle times will not survive a restart: %s", error)
            self._has_failed = True
