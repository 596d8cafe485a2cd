"""What a stage finds, written line by line, so that a stage that hangs leaves what it had."""

import json
from collections.abc import Iterable
from typing import IO, Any, TypedDict


class Check(TypedDict):
    """One assumption: what was expected, what was seen."""

    what: str
    passed: bool
    seen: Any
    expected: Any


class Findings(TypedDict):
    """All that one stage has written.

    `unchecked` are reasons why something could not be checked. `skipped` is why the stage does not
    apply to this machine. `doing` is the last step it began, `done` whether it came to its end.
    """

    checks: list[Check]
    data: dict[str, Any]
    unchecked: list[str]
    skipped: str | None
    doing: str
    done: bool


class Unchecked(Exception):
    """The stage cannot check what it should; `str` is the reason."""


class Skipped(Exception):
    """The stage does not apply to this machine; `str` is the reason."""


class Recorder:
    """The stage's end: each call writes one line of JSON to `file`, at once."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def check(self, what: str, passed: bool, seen: Any, expected: Any) -> None:
        """An assumption that holds or does not."""
        self._write("check", Check(what=what, passed=bool(passed), seen=seen, expected=expected))

    def note(self, key: str, value: Any) -> None:
        """A value to keep; the last one of a key counts."""
        self._write("note", [key, value])

    def add(self, key: str, row: Any) -> None:
        """One more row of a list to keep."""
        self._write("row", [key, row])

    def unchecked(self, reason: str) -> None:
        """Something could not be checked; the stage goes on."""
        self._write("unchecked", reason)

    def skip(self, reason: str) -> None:
        """The stage does not apply to this machine."""
        self._write("skipped", reason)

    def begin(self, step: str) -> None:
        """The step that is blamed if the stage gets no further."""
        self._write("doing", step)

    def finish(self) -> None:
        """The stage has come to its end."""
        self._write("done", True)

    def _write(self, kind: str, value: Any) -> None:
        self._file.write(json.dumps([kind, value], default=str) + "\n")
        self._file.flush()


def read_findings(lines: Iterable[str]) -> Findings:
    """What the lines of a stage say; a last line that was cut short is left out."""
    found = Findings(checks=[], data={}, unchecked=[], skipped=None, doing="", done=False)
    for line in lines:
        if not line.endswith("\n"):
            break
        kind, value = json.loads(line)
        if kind == "check":
            found["checks"].append(value)
        elif kind == "note":
            found["data"][value[0]] = value[1]
        elif kind == "row":
            found["data"].setdefault(value[0], []).append(value[1])
        elif kind == "unchecked":
            found["unchecked"].append(value)
        elif kind == "skipped":
            found["skipped"] = value
        elif kind == "doing":
            found["doing"] = value
        elif kind == "done":
            found["done"] = value
    return found
