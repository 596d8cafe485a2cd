"""The report: one JSON document and a short table."""

import platform
import time
from collections import Counter
from collections.abc import Iterator
from typing import TypedDict

from .children import StageResult, Verdict
from .options import Options

FORMAT = 1
"""Of the JSON; a member that changes its meaning or goes raises it."""
EXIT_FAILED = 1
EXIT_UNCHECKED = 3
REASONS_SHOWN = 4


class Card(TypedDict):
    """A GPU of the machine; None is not known."""

    index: int
    name: str | None
    uuid: str | None
    pci_bus_id: str | None


class Report(TypedDict):
    """`at` is in unix seconds; `driver` None where none could be reached."""

    format: int
    tool: str
    at: int
    seconds: float
    kernel: str
    python: str
    driver: str | None
    cards: list[Card]
    options: dict[str, object]
    verdict: Verdict
    stages: list[StageResult]


def make_report(stages: list[StageResult], options: Options, seconds: float) -> Report:
    """The report of all stages; driver and cards are what the stage `facts` found."""
    facts = next((stage["data"] for stage in stages if stage["name"] == "facts"), {})
    driver, cards = facts.get("driver"), facts.get("cards")
    return Report(
        format=FORMAT,
        tool="first_contact",
        at=int(time.time()),
        seconds=round(seconds, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        driver=driver if isinstance(driver, str) else None,
        cards=cards if isinstance(cards, list) else [],
        options=options._asdict(),
        verdict=overall(stages),
        stages=stages,
    )


def overall(stages: list[StageResult]) -> Verdict:
    """The worst verdict: a wrong value, then a gap."""
    verdicts = {stage["verdict"] for stage in stages}
    if "failed" in verdicts:
        return "failed"
    return "unchecked" if "unchecked" in verdicts or "passed" not in verdicts else "passed"


def exit_code(report: Report) -> int:
    """0 only if everything that applies was checked and holds."""
    return {"passed": 0, "failed": EXIT_FAILED}.get(report["verdict"], EXIT_UNCHECKED)


def table(report: Report) -> Iterator[str]:
    """The report for a terminal, line by line."""
    for card in report["cards"]:
        yield f"GPU {card['index']}: {card['name']} at {card['pci_bus_id']}"
    driver = report["driver"] or "not reached"
    yield f"{len(report['cards'])} GPUs, driver {driver}, kernel {report['kernel']}"
    for stage in report["stages"]:
        held = sum(check["passed"] for check in stage["checks"])
        count = f"{held}/{len(stage['checks'])}"
        yield f"{stage['verdict']:10} {stage['name']:20} {count:>7} {stage['seconds']:6.1f} s"
        for reason in stage["reasons"][:REASONS_SHOWN]:
            yield f"           {reason[:160]}"
        if (more := len(stage["reasons"]) - REASONS_SHOWN) > 0:
            yield f"           … and {more} more"
    counts = Counter(stage["verdict"] for stage in report["stages"])
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    yield f"{report['verdict']}: {words}; {report['seconds']:.0f} s"
