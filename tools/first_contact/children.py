"""Stages as child processes: one that hangs is ended, with all that it started."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal, TypedDict

from .options import Options
from .record import Check, Findings, read_findings

ROOT = Path(__file__).parent.parent.parent
END_SECONDS = 2.0
"""A process that hangs in the driver may not end at all: then it is left behind."""
LOG_CHARACTERS = 4000

Verdict = Literal["passed", "failed", "unchecked", "skipped"]


class StageResult(TypedDict):
    """One stage in the report; `reasons` are why it is not `passed`."""

    name: str
    verdict: Verdict
    reasons: list[str]
    seconds: float
    checks: list[Check]
    data: dict[str, object]
    log: str


def run_child(name: str, options: Options, limit: float) -> StageResult:
    """The result of a stage, after `limit` seconds and a moment at the latest."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
        findings, log = Path(folder, "findings"), Path(folder, "log")
        findings.touch()
        ending = _run(name, findings, log, options, limit)
        with findings.open() as lines:
            found = read_findings(lines)
        tail = log.read_text(errors="replace")[-LOG_CHARACTERS:]
    return _result(name, found, ending, time.monotonic() - begun, tail)


def unchecked_result(name: str, reason: str) -> StageResult:
    """The result of a stage that was not run."""
    return StageResult(
        name=name, verdict="unchecked", reasons=[reason], seconds=0, checks=[], data={}, log=""
    )


def _run(name: str, findings: Path, log: Path, options: Options, limit: float) -> str | None:
    """How the stage's process ended; None if by itself and in order."""
    command = [sys.executable, "-m", "tools.first_contact.stage_process"]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, name, str(findings), options.packed()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = child.wait(limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    finally:
        _end(child)
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with code {code}" if code else None


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the stage and the loads and collectors that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)


def _result(
    name: str, found: Findings, ending: str | None, seconds: float, log: str
) -> StageResult:
    reasons = list(found["unchecked"])
    if ending or not found["done"]:
        step = f" in {found['doing']}" if found["doing"] else ""
        reasons.append(f"{ending or 'ended early'}{step}")
    wrong = [check for check in found["checks"] if not check["passed"]]
    verdict = judge(found, reasons, wrong)
    reasons += [f"{c['what']}: {c['seen']}, expected {c['expected']}" for c in wrong]
    if verdict == "skipped":
        reasons.append(str(found["skipped"]))
    return StageResult(
        name=name,
        verdict=verdict,
        reasons=reasons or (["it checked nothing"] if verdict == "unchecked" else []),
        seconds=round(seconds, 1),
        checks=found["checks"],
        data=found["data"],
        log=log,
    )


def judge(found: Findings, reasons: list[str], wrong: list[Check]) -> Verdict:
    """A wrong value outweighs a gap; a stage that checked nothing has not passed."""
    if wrong:
        return "failed"
    if reasons:
        return "unchecked"
    if found["skipped"] is not None:
        return "skipped"
    return "passed" if found["checks"] else "unchecked"
