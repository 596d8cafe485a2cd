"""The broker's own findings about a host, beside those of its collector; pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpu_monitor.wire.document import FINDING_COLUMNS, SEVERITIES, Table

CLOCK_OFFSET_SECONDS = 5.0
CLOCK_CLEARED_SECONDS = 4.0
_REWORD_SECONDS = 1.0
"""An offset that wanders by less keeps its words, so that nothing travels."""
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}


class BrokerFinding(NamedTuple):
    """A row of `findings` about the host as a whole."""

    kind: str
    severity: str
    since: int
    words: str
    advice: str
    gpu: None = None


class ClockFinding:
    """Whether a host's clock is wrong by the broker's, with hysteresis.

    `finding` is None while the clocks agree.
    """

    __slots__ = ("_offset", "finding")

    def __init__(self) -> None:
        self.finding: BrokerFinding | None = None
        self._offset = 0.0
        """The offset that the words tell."""

    def judge(self, offset: float, now: float) -> bool:
        """Takes the host's clock minus the broker's in seconds; whether `finding` has changed.

        `now` is in unix seconds.
        """
        before = self.finding
        if abs(offset) < (CLOCK_OFFSET_SECONDS if before is None else CLOCK_CLEARED_SECONDS):
            self.finding = None
            return before is not None
        if before is not None and abs(offset - self._offset) < _REWORD_SECONDS:
            return False
        self._offset = offset
        words = f"its clock is {_off_by(offset)} the broker's"
        since = round(now) if before is None else before.since
        advice = "synchronize the clocks of this host and of the broker, for example with chrony"
        self.finding = BrokerFinding("clock", "warning", since, words, advice)
        return True


def with_findings(sent: Table, own: Sequence[BrokerFinding]) -> Table:
    """The collector's table with the broker's `own` rows: all columns, the worst rows first.

    Without `own` rows, a table that has all columns is returned as it is.
    """
    if not own and FINDING_COLUMNS.keys() <= sent.keys():
        return sent
    rows: list[dict[str, Any]] = [finding._asdict() for finding in own]
    rows += ({key: sent[key][row] for key in sent} for row in range(len(sent.get("kind", ()))))
    rows.sort(key=lambda row: _RANKS[row["severity"]])
    return {key: [row.get(key) for row in rows] for key in (FINDING_COLUMNS | dict(sent))}


def _off_by(offset: float) -> str:
    seconds = abs(offset)
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit} {_side(offset)}"
    return f"{round(seconds)} s {_side(offset)}"


def _side(offset: float) -> str:
    return "ahead of" if offset > 0 else "behind"
