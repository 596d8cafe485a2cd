"""What `gpu-monitor check` reports: one line per fact that it checked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpu_monitor.config.keys import Config


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One line of the report. A failure says what to do about it; a warning is not a failure."""

    good: bool
    text: str
    is_warning: bool = False

    def __str__(self) -> str:
        mark = "warn" if self.is_warning else "ok  " if self.good else "FAIL"
        return f"{mark} {self.text}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks of one run share.

    `broker_addresses` is empty if the broker's name does not resolve. `patience_seconds` is how
    long a name service, a broker or a web server may take to answer.
    """

    config: Config
    part: str
    broker_addresses: list[str]
    is_broker_here: bool
    patience_seconds: float

    def covers(self, part: str) -> bool:
        """Whether `part` is to be checked."""
        return self.part in ("all", part)


def warnings(subject: str, texts: Iterable[str]) -> Iterator[ReportLine]:
    """A warning about `subject` for each text."""
    for text in texts:
        yield ReportLine(True, f"{subject}: {text}", is_warning=True)


def listed(names: Sequence[str], limit: int) -> str:
    """The names in one line; beyond `limit` they are only counted."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
