"""Whatever a source hands over fits the wire: a text, a number or a list never costs a snapshot."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_monitor.collector.activity import IdleTimes
from gpu_monitor.collector.clock import Moment
from gpu_monitor.collector.columns import packed
from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu.readings import DriverReading, GpuReading, Identity, Use
from gpu_monitor.collector.host.processes import ProcessFacts
from gpu_monitor.collector.snapshot import Origin, SnapshotBuilder, Sources
from gpu_monitor.collector.wire_fit import fitted_scalars, fitted_text, fitted_words, listed
from gpu_monitor.wire.document import Kind, Snapshot
from gpu_monitor.wire.limits import MAX_COUNT, MAX_MESSAGE_BYTES, MAX_TEXT, MAX_WORDS
from tests.support.snapshots import read_snapshot

NOW = Moment(1000.0, 1000.0, 1_763_901_000.0)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),  # with lone surrogates, as file names may have
    st.builds(lambda sign, count: sign * count, st.sampled_from("x\n\x1bé\u202e"), st.just(9000)),
)
NUMBERS = st.one_of(st.none(), st.integers(-(2**70), 2**70))
FLOATS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def sent(reading: DriverReading, facts: dict[int, ProcessFacts], **host: Any) -> Snapshot:
    """These readings as the broker accepts them; WireError if it refuses them."""
    sources = Sources(
        lambda: NOW,
        lambda now: reading,
        lambda pids, now: facts,
        lambda now: (host, {"mount": ["/"], "total_mib": [2**60], "used_mib": [-1]}),
        lambda now, seconds: {"cpu_percent": float("nan")},
    )
    data = packed(SnapshotBuilder(Origin("node1", "b", "r", 1.0), sources, IdleTimes()).build())
    assert len(data) <= MAX_MESSAGE_BYTES
    return read_snapshot(data)


@settings(deadline=None, max_examples=50)
@given(TEXTS, NUMBERS, NUMBERS, FLOATS, st.lists(TEXTS, max_size=MAX_WORDS + 2))
def test_any_reading_passes_the_brokers_check(
    text: str, number: int | None, other: int | None, real: float | None, words: list[str]
) -> None:
    gpu = GpuReading(
        Identity(0, text, text, text, text, number),
        reason=text,
        memory_total_bytes=number,
        memory_used_bytes=other,
        utilization_percent=number,
        temperature_celsius=other,
        power_watts=real,
        sm_clock_mhz=other,
        throttle=tuple(words),
        findings=tuple(Finding("xid", "warning", each, each) for each in words),
        uses=(Use(7, "C", number, other),),
    )
    facts = {7: ProcessFacts(7, uid=number, user=text, command=text, container=text)}
    reading = DriverReading(
        (gpu,), tuple(Finding("driver", "info", each) for each in words), text, text
    )

    snapshot = sent(reading, facts, hostname=text, cpu_percent=number, load_1m=real)

    assert len(snapshot["gpus"]["index"]) == len(snapshot["processes"]["pid"]) == 1
    assert all(words.isprintable() for words in snapshot["findings"]["words"])
    kinds = snapshot["findings"]["kind"]
    assert kinds.count("xid") == kinds.count("driver") == len(words)


@given(TEXTS)
def test_a_fitted_text_is_one_printable_line_of_limited_length(text: str) -> None:
    fitted = fitted_text(text)

    assert fitted.isprintable() and len(fitted) <= MAX_TEXT
    assert fitted == text or not text.isprintable() or len(text) > MAX_TEXT


def test_long_texts_of_many_gpus_are_cut_until_the_message_fits() -> None:
    found = (Finding("xid", "warning", "x" * MAX_TEXT),) * 40
    gpus = [GpuReading(Identity(index), findings=found) for index in range(256)]

    snapshot = sent(DriverReading(tuple(gpus)), {})

    assert len(snapshot["gpus"]["index"]) == 256
    assert snapshot["gpus"]["health_reasons"][255][0].endswith("x…")


def test_omitted_words_are_counted() -> None:
    words = [str(number) for number in range(MAX_WORDS + 5)]

    assert fitted_words(words) == [*words[: MAX_WORDS - 1], "… and 6 more"]
    assert fitted_words(words[:MAX_WORDS]) == words[:MAX_WORDS]


def test_scalars_without_a_value_are_left_out() -> None:
    scalars = {"a": float("inf"), "b": MAX_COUNT + 1, "c": None, "d": "x\ny", "e": -0.5, "f": 0}
    kinds = {"a": Kind.NUMBER, "b": Kind.COUNT, "e": Kind.NUMBER, "f": Kind.COUNT}

    assert fitted_scalars(scalars, kinds) == {"d": "x y", "e": -0.5, "f": 0}
    assert fitted_scalars({"f": -1, "g": 0.5}, {"f": Kind.COUNT, "g": Kind.COUNT}) == {}


def test_a_list_inside_a_text_is_cut_at_eight() -> None:
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed(range(433)) == "0, 1, 2, 3, 4, 5, 6, 7, … and 425 more"
