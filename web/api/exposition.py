"""Metrics as text: Prometheus's own format or OpenMetrics, whichever the client asks for; pure."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Family(NamedTuple):
    """All samples of one name: their labels, as `labels` writes them, and their values.

    The name of a counter ends in `_total`, that of an info (labels that belong to a value of 1)
    in `_info`.
    """

    name: str
    kind: Literal["gauge", "counter", "info"]
    help: str
    samples: Iterable[tuple[str, float]]


def labels(**values: str | None) -> str:
    """Labels as they stand behind a name; one whose value is not known is left out."""
    known = [label(name, value) for name, value in values.items() if value is not None]
    return f"{{{','.join(known)}}}" if known else ""


def label(name: str, value: str) -> str:
    """One label; its value may be any text, and stands in one line."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'


def joined(labels: str, label: str) -> str:
    """Labels, of which there are some, and one more."""
    return f"{labels[:-1]},{label}}}"


def write(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """All families as a whole answer."""
    return begin(families, openmetrics=openmetrics) + (b"# EOF\n" if openmetrics else b"")


def begin(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """All families, but those without a sample; more may follow.

    Labels stand once in a family, with the last of their values: what a collector sent twice
    would make the whole answer unreadable.
    """
    written = []
    for family in families:
        samples = dict(family.samples)
        if samples:
            lines = [f"{family.name}{labels} {value}" for labels, value in samples.items()]
            written.append("\n".join((_head(family, openmetrics), *lines, "")).encode())
    return b"".join(written)


def _head(family: Family, openmetrics: bool) -> str:
    """OpenMetrics names a counter and an info without their ending."""
    name, kind = family.name, family.kind
    if openmetrics:
        name = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
    elif kind == "info":
        kind = "gauge"
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}"


def prefers_openmetrics(accept: str) -> bool:
    """Whether a header Accept asks for OpenMetrics, and not rather for plain text."""
    wanted = _quality(accept, "application/openmetrics-text", "1.0.0")
    return 0 < wanted >= _quality(accept, "text/plain", "0.0.4")


def _quality(accept: str, kind: str, version: str) -> float:
    """How much a kind is wanted, from 0 to 1 (RFC 9110, section 12.4.2); 0 for not at all."""
    best = 0.0
    for part in accept.lower().split(","):
        name, *words = (word.strip() for word in part.split(";"))
        options = {
            key.strip(): value.strip() for key, _, value in (w.partition("=") for w in words)
        }
        if name == kind and options.get("version", version) == version:
            quality = options.get("q", "1")
            best = max(best, float(quality) if _QUALITY.fullmatch(quality) else 0.0)
    return best
