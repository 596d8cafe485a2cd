"""Faults of a host, a row for each: what it is, how bad, since when, and what helps; pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from gpu_monitor.wire.document import FINDING_COLUMNS, SEVERITIES, Table
from gpu_monitor.wire.limits import MAX_ROWS

Severity = Literal["critical", "warning", "info"]
MAX_FINDINGS = MAX_ROWS["findings"]


class Finding(NamedTuple):
    """One fault. `kind` is one of wire.document.FINDING_KINDS.

    `words` say what is wrong, without the GPU's name; `advice` is what helps, where that is known.
    `key` tells apart findings of one kind on the same GPU or host. `since` is in seconds of
    CLOCK_BOOTTIME; None where the fault began when it was first seen.
    """

    kind: str
    severity: Severity
    words: str
    advice: str | None = None
    key: str = ""
    since: float | None = None

    @property
    def line(self) -> str:
        """Words and advice in one line."""
        return self.words if self.advice is None else f"{self.words}: {self.advice}"

    @classmethod
    def of_text(cls, kind: str, severity: Severity, text: str, key: str = "") -> "Finding":
        """From a text that has the advice, if any, after its first ": "."""
        words, _, advice = text.partition(": ")
        return cls(kind, severity, words, advice or None, key)


class PlacedFinding(NamedTuple):
    """A finding and the row of `gpus` it is about, None for one of the host or of several GPUs."""

    row: int | None
    finding: Finding


class FindingTimes:
    """Since when each finding has been there, in this run of the collector."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str, str], float] = {}

    def update(
        self, found: Iterable[PlacedFinding], gpu_keys: Sequence[str], now: float
    ) -> list[float]:
        """When each of these began, in seconds of CLOCK_BOOTTIME; all others are over.

        `gpu_keys` identify the rows of `gpus`, which may move.
        """
        since: dict[tuple[str, str, str], float] = {}
        times = []
        for row, finding in found:
            key = (finding.kind, "" if row is None else gpu_keys[row], finding.key)
            at = finding.since
            since[key] = self._since.get(key, now) if at is None else at
            times.append(since[key])
        self._since = since
        return times


def sorted_findings(found: Iterable[PlacedFinding], rows: int) -> list[PlacedFinding]:
    """The worst first, then the host's, then in the order of GPUs; as many as the wire carries.

    One about a GPU beyond the first `rows`, which are not shown either, is the host's.
    """
    placed = [
        each if each.row is None or each.row < rows else each._replace(row=None) for each in found
    ]
    placed.sort(key=_order)
    if len(placed) <= MAX_FINDINGS:
        return placed
    cut = Finding("rows_cut", "info", f"{MAX_FINDINGS - 1} of {len(placed)} findings shown")
    return [*placed[: MAX_FINDINGS - 1], PlacedFinding(None, cut)]


def _order(placed: PlacedFinding) -> tuple[int, int]:
    return SEVERITIES.index(placed.finding.severity), -1 if placed.row is None else placed.row


def finding_columns(
    found: Sequence[PlacedFinding],
    times: Sequence[float],
    unix: Callable[[float], int | None],
) -> Table:
    """The table `findings`; `unix` turns seconds of CLOCK_BOOTTIME into unix seconds."""
    cells = [
        (each.kind, each.severity, row, unix(since), each.words, each.advice)
        for (row, each), since in zip(found, times, strict=True)
    ]
    columns = zip(*cells, strict=True) if cells else [()] * len(FINDING_COLUMNS)
    return dict(zip(FINDING_COLUMNS, map(list, columns), strict=True))


def add_finding(table: Table, finding: Finding, since: int | None) -> Table:
    """The table with a row about the host added at its end; the last one goes if it is full."""
    cells = (finding.kind, finding.severity, None, since, finding.words, finding.advice)
    return {
        name: [*table[name][: MAX_FINDINGS - 1], cell]
        for name, cell in zip(FINDING_COLUMNS, cells, strict=True)
    }
