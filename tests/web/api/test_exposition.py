"""What stands in a metric can be read back by Prometheus's own readers, whatever it is."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from gpu_monitor.web.api.exposition import Family, joined, label, labels, prefers_openmetrics, write

READERS: dict[bool, Callable[[str], Iterable[Any]]] = {False: read_text, True: read_openmetrics}
hostile = st.text(alphabet=st.sampled_from('ab\\"\n\r\t{}=,# é\u2028\x00n'), max_size=12)
texts = hostile | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(0, 2**60) | st.floats(allow_nan=False, allow_infinity=False)


def read(families: list[Family], openmetrics: bool) -> dict[str, Any]:
    """What a reader makes of them, by name."""
    text = write(families, openmetrics=openmetrics).decode()
    return {family.name: family for family in READERS[openmetrics](text)}


@pytest.mark.parametrize("openmetrics", READERS)
@given(told=st.dictionaries(st.tuples(texts, texts), numbers, min_size=1, max_size=4))
def test_any_text_and_any_number_is_read_back_as_it_was(
    told: dict[tuple[str, str], float], openmetrics: bool
) -> None:
    samples = [(labels(host=host, user=user), value) for (host, user), value in told.items()]
    family = read([Family("things", "gauge", "Things.", samples)], openmetrics)["things"]
    assert (family.type, family.documentation) == ("gauge", "Things.")
    assert {(s.labels["host"], s.labels["user"]): s.value for s in family.samples} == told


@pytest.mark.parametrize("openmetrics", READERS)
@given(first=texts, second=texts)
def test_one_more_label_is_read_back_too(first: str, second: str, openmetrics: bool) -> None:
    own = joined(labels(host=first), label("state", second))
    (sample,) = read([Family("things", "gauge", "Things.", [(own, 1)])], openmetrics)[
        "things"
    ].samples
    assert sample.labels == {"host": first, "state": second}


def test_an_unknown_label_is_left_out() -> None:
    assert labels(host="a", uuid=None) == '{host="a"}'
    assert labels(uuid=None) == ""


@pytest.mark.parametrize("openmetrics", READERS)
def test_counters_and_infos_are_named_as_the_format_wants(openmetrics: bool) -> None:
    families = [
        Family("refused_total", "counter", "Refused.", [("", 3)]),
        Family("build_info", "info", "Versions.", [('{version="1"}', 1)]),
    ]
    found = read(families, openmetrics)
    names = [s.name for family in found.values() for s in family.samples]
    kinds = {family.type for family in found.values()}
    assert names == ["refused_total", "build_info"]
    assert kinds == {"counter", "info" if openmetrics else "gauge"}


def test_openmetrics_ends_with_its_mark_and_the_text_format_has_none() -> None:
    families = [Family("things", "gauge", "Things.", [("", 1)])]
    assert write(families, openmetrics=True).endswith(b"things 1\n# EOF\n")
    assert write(families, openmetrics=False).endswith(b"things 1\n")


def test_a_family_without_a_sample_is_left_out() -> None:
    assert write([Family("things", "gauge", "Things.", [])], openmetrics=False) == b""


def test_labels_stand_once_in_a_family() -> None:
    twice = [('{host="a"}', 1), ('{host="b"}', 5), ('{host="a"}', 2)]
    text = write([Family("things", "gauge", "Things.", twice)], openmetrics=False).decode()
    assert text.splitlines()[2:] == ['things{host="a"} 2', 'things{host="b"} 5']


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "wanted"),
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
def test_openmetrics_is_for_those_who_ask_for_it(accept: str, wanted: bool) -> None:
    assert prefers_openmetrics(accept) is wanted
