"""Metrics as text, in Prometheus's own format or as OpenMetrics; pure.

Written by hand because it is 8 times faster than prometheus_client for a large fleet and saves its
12 MB; tests compare the two.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Family(NamedTuple):
    """All samples of one name: their labels, as written by `labels`, and their values.

    A counter's name ends in `_total`. An info, whose labels matter and whose value is 1, has a
    name that ends in `_info`.
    """

    name: str
    kind: Literal["gauge", "counter", "info"]
    help: str
    samples: Iterable[tuple[str, float]]


def labels(**values: str | None) -> str:
    """Labels as they follow a name, without those whose value is unknown."""
    known = [label(name, value) for name, value in values.items() if value is not None]
    return f"{{{','.join(known)}}}" if known else ""


def label(name: str, value: str) -> str:
    """One label; its value may be any text and is escaped onto one line."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'


def joined(labels: str, label: str) -> str:
    """Nonempty labels with one more."""
    return f"{labels[:-1]},{label}}}"


def render(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The families as a complete response."""
    return render_families(families, openmetrics=openmetrics) + (b"# EOF\n" if openmetrics else b"")


def render_families(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The families that have samples; others may follow.

    Repeated labels appear once in a family, with their last value: if a collector sent something
    twice, Prometheus would otherwise reject the whole response.
    """
    written = []
    for family in families:
        samples = dict(family.samples)
        if samples:
            lines = [f"{family.name}{labels} {value}" for labels, value in samples.items()]
            written.append("\n".join((_head(family, openmetrics), *lines, "")).encode())
    return b"".join(written)


def _head(family: Family, openmetrics: bool) -> str:
    """OpenMetrics omits the suffix of counters and infos."""
    name, kind = family.name, family.kind
    if openmetrics:
        name = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
    elif kind == "info":
        kind = "gauge"
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}"


def prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics to plain text."""
    wanted = _quality(accept, "application/openmetrics-text", "1.0.0")
    return 0 < wanted >= _quality(accept, "text/plain", "0.0.4")


def _quality(accept: str, kind: str, version: str) -> float:
    """The weight of a media type, from 0 (unacceptable) to 1 (RFC 9110, section 12.4.2)."""
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
