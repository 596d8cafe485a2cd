"""What the collector's log says of findings: each once when it begins, and once when it is over."""

import logging
from typing import NamedTuple

from gpu_monitor.wire.document import Snapshot
from gpu_monitor.wire.gpu_labels import gpu_labels

log = logging.getLogger(__name__)


class _Line(NamedTuple):
    """A finding in one line, and what stays the same while its words change, such as a count."""

    about: tuple[str, str]
    is_info: bool
    text: str


class FindingLog:
    """Logs what has changed since the last snapshot."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

    def log_changes(self, snapshot: Snapshot) -> None:
        """Log new findings, those with new words, and those that are gone."""
        before, self._lines = self._lines, _lines(snapshot)
        for line in self._lines:
            if line not in before:
                log.log(logging.INFO if line.is_info else logging.WARNING, "%s", line.text)
        about = {line.about for line in self._lines}
        for line in before:
            if line not in self._lines and line.about not in about:
                log.info("resolved: %s", line.text)


def _lines(snapshot: Snapshot) -> list[_Line]:
    table, gpus = snapshot["findings"], snapshot["gpus"]
    if not table["kind"]:
        return []
    labels = gpu_labels(gpus["index"], gpus["parent"])
    lines = []
    for kind, severity, row, words, advice in zip(
        *(table[key] for key in ("kind", "severity", "gpu", "words", "advice")), strict=True
    ):
        place = "" if row is None else f"GPU {labels[row]}: "
        text = words if advice is None else f"{words}: {advice}"
        lines.append(_Line((kind, place), severity == "info", place + text))
    return lines
