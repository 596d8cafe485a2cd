"""Prometheus's own parsers read back any text and number that a metric contains."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpu_monitor.web.api.exposition import (
    Family,
    joined,
    label,
    labels,
    prefers_openmetrics,
    render,
)

READERS: dict[bool, Callable[[str], Iterable[Any]]] = {False: read_text, True: read_openmetrics}
hostile = st.text(alphabet=st.sampled_from('ab\\"\n\r\t{}=,# é\u2028\x00n'), max_size=12)
texts = hostile | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(0, 2**60) | st.floats(allow_nan=False, allow_infinity=False)


def read(families: list[Family], openmetrics: bool) -> dict[str, Any]:
    """The families as parsed, by name."""
    text = render(families, openmetrics=openmetrics).decode()
    return {family.name: family for family in READERS[openmetrics](text)}


@pytest.mark.parametrize("openmetrics", READERS)
@given(values=st.dictionaries(st.tuples(texts, texts), numbers, min_size=1, max_size=4))
def test_any_text_and_number_is_read_back_unchanged(
    values: dict[tuple[str, str], float], openmetrics: bool
) -> None:
    samples = [(labels(host=host, user=user), value) for (host, user), value in values.items()]
    family = read([Family("things", "gauge", "Things.", samples)], openmetrics)["things"]
    assert (family.type, family.documentation) == ("gauge", "Things.")
    assert {(s.labels["host"], s.labels["user"]): s.value for s in family.samples} == values


@pytest.mark.parametrize("openmetrics", READERS)
@given(first=texts, second=texts)
def test_a_joined_label_is_read_back_unchanged(first: str, second: str, openmetrics: bool) -> None:
    own = joined(labels(host=first), label("state", second))
    (sample,) = read([Family("things", "gauge", "Things.", [(own, 1)])], openmetrics)[
        "things"
    ].samples
    assert sample.labels == {"host": first, "state": second}


def test_labels_with_unknown_values_are_omitted() -> None:
    assert labels(host="a", uuid=None) == '{host="a"}'
    assert labels(uuid=None) == ""


@pytest.mark.parametrize("openmetrics", READERS)
def test_counters_and_infos_are_named_as_each_format_requires(openmetrics: bool) -> None:
    families = [
        Family("refused_total", "counter", "Refused.", [("", 3)]),
        Family("build_info", "info", "Versions.", [('{version="1"}', 1)]),
    ]
    found = read(families, openmetrics)
    names = [s.name for family in found.values() for s in family.samples]
    kinds = {family.type for family in found.values()}
    assert names == ["refused_total", "build_info"]
    assert kinds == {"counter", "info" if openmetrics else "gauge"}


def test_only_openmetrics_ends_with_an_eof_marker() -> None:
    families = [Family("things", "gauge", "Things.", [("", 1)])]
    assert render(families, openmetrics=True).endswith(b"things 1\n# EOF\n")
    assert render(families, openmetrics=False).endswith(b"things 1\n")


def test_a_family_without_samples_is_omitted() -> None:
    assert render([Family("things", "gauge", "Things.", [])], openmetrics=False) == b""


def test_repeated_labels_appear_once_with_their_last_value() -> None:
    twice = [('{host="a"}', 1), ('{host="b"}', 5), ('{host="a"}', 2)]
    text = render([Family("things", "gauge", "Things.", twice)], openmetrics=False).decode()
    assert text.splitlines()[2:] == ['things{host="a"} 2', 'things{host="b"} 5']


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1", True),
        (PROMETHEUS, True),
        ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;;q=1.0,,", True),
    ],
)
def test_openmetrics_is_sent_only_to_clients_that_prefer_it(accept: str, expected: bool) -> None:
    assert prefers_openmetrics(accept) is expected
