"""A viewer of the live page that records when it sees each host."""

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.bed import Bed

FOLLOW = Path(__file__).parent / "follow.py"


@dataclass(frozen=True)
class Sight:
    """A sighting of a host, with the time on this machine's monotonic clock."""

    at: float
    host: str
    state: str
    temperature: list[int | None] | None


class Viewer:
    """Follows the websocket of a machine until it is closed."""

    def __init__(self, bed: Bed, machine: str = "server") -> None:
        self._log = bed.folder / f"viewer-{machine}.log"
        with self._log.open("w") as log:
            command = [sys.executable, str(FOLLOW), "http://127.0.0.1:8042/ws"]
            self._process = subprocess.Popen(
                [*bed.at(machine), *command], stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> "Viewer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def sights(self, host: str) -> list[Sight]:
        """All sightings of a host so far, in order."""
        found = []
        for line in self._log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                read: dict[str, Any] = json.loads(line)
                if read["host"] == host:
                    found.append(Sight(read["at"], host, read["state"], read["temperature"]))
        return found

    def longest_gap(self, host: str, since: float) -> float:
        """The longest time between two live sightings of a host, in seconds."""
        times = [each.at for each in self.sights(host) if each.state == "live" and each.at >= since]
        return max(later - earlier for earlier, later in itertools.pairwise(times))
