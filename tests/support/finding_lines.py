"""Findings in lines, as the collector's log has them."""

from collections.abc import Mapping
from typing import Any

from gpu_monitor.collector.gpu.readings import DriverReading
from gpu_monitor.wire.gpu_labels import gpu_labels


def driver_lines(reading: DriverReading) -> tuple[str, ...]:
    """The driver's findings, then those of each GPU."""
    own = [finding.line for finding in reading.findings]
    of_gpus = [
        f"GPU {gpu.identity.number}: {finding.line}"
        for gpu in reading.gpus
        for finding in gpu.findings
    ]
    return (*own, *of_gpus)


def snapshot_lines(snapshot: Mapping[str, Any]) -> list[str]:
    """Those of a snapshot or host, in their order."""
    table, gpus = snapshot["findings"], snapshot["gpus"]
    labels = gpu_labels(gpus["index"], gpus["parent"])
    lines = []
    for row, words, advice in zip(table["gpu"], table["words"], table["advice"], strict=True):
        place = "" if row is None else f"GPU {labels[row]}: "
        lines.append(place + words + ("" if advice is None else f": {advice}"))
    return lines
