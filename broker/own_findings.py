"""The broker's own findings about a host, beside those of its collector; pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpu_monitor.wire.document import FINDING_COLUMNS, SEVERITIES, Table

CLOCK_OFFSET_SECONDS = 5.0
_CLEARED_SHARE = 0.8
LATE_SILENT_SECONDS = 30.0
"""A host that has sent nothing for this long is silent, not late."""
_REWORD_SECONDS = 1.0
"""An offset that wanders by less keeps its words, so that nothing travels."""
_LATE_ADVICE = (
    "if the line to the broker is too thin, send less over it: a longer `interval` or a thinner "
    "`commands` in config.yml; synchronize the clock of this host, for example with chrony"
)
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

    `finding` is None while the clocks agree. A constant delay looks like a clock that is behind, so
    an offset of `rpc_timeout` is one, too: the host may be showing what is older than that.
    """

    __slots__ = ("_limit", "_offset", "finding")

    def __init__(self, rpc_timeout: float) -> None:
        self.finding: BrokerFinding | None = None
        self._limit = min(CLOCK_OFFSET_SECONDS, rpc_timeout)
        self._offset = 0.0
        """The offset in the words of `finding`."""

    def judge(self, offset: float, now: float) -> bool:
        """Takes the host's clock minus the broker's in seconds; whether `finding` has changed.

        `now` is in unix seconds.
        """
        before = self.finding
        if abs(offset) < self._limit * (1.0 if before is None else _CLEARED_SHARE):
            self.finding = None
            return before is not None
        if before is not None and abs(offset - self._offset) < _REWORD_SECONDS:
            return False
        self._offset = offset
        words = f"its clock is {_off_by(offset)} the broker's"
        if offset < 0:
            words += ", or its messages arrive that late"
        since = round(now) if before is None else before.since
        advice = "synchronize the clocks of this host and of the broker, for example with chrony"
        self.finding = BrokerFinding("clock", "warning", since, words, advice)
        return True


class LateFinding:
    """How late a host's messages arrive, while none of them is fresh.

    `finding` is None while some are.
    """

    __slots__ = ("_at", "_late", "finding")

    def __init__(self) -> None:
        self.finding: BrokerFinding | None = None
        self._late = 0.0
        """The lateness in the words of `finding`, in seconds."""
        self._at = 0.0

    def judge(self, late: float, received: float, now: float) -> bool:
        """Takes the age of an old message in seconds; whether `finding` has changed.

        `received` is the broker's boot clock, `now` its wall clock, both in seconds.
        """
        self._at = received
        before = self.finding
        if before is not None and abs(late - self._late) < max(_REWORD_SECONDS, self._late / 10):
            return False
        self._late = late
        words = f"its messages arrive {_length(late)} late, or its clocks were set back"
        since = round(now) if before is None else before.since
        self.finding = BrokerFinding("link_late", "warning", since, words, _LATE_ADVICE)
        return True

    def is_over(self, received: float) -> bool:
        """Whether the host has fallen silent."""
        return received - self._at > LATE_SILENT_SECONDS


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
    return f"{_length(abs(offset))} {'ahead of' if offset > 0 else 'behind'}"


def _length(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{round(seconds)} s"
