"""Times in which no GPU answers: when they begin, end, and have NVML opened again."""

import pytest

from gpu_monitor.collector.gpu.readings import Identity, State
from gpu_monitor.collector.gpu.silence import SILENT_SECONDS, Silence
from gpu_monitor.collector.gpu.slots import Slot

FIRST_WAIT, LONGEST_WAIT = SILENT_SECONDS


def slots(*states: State | None) -> list[Slot]:
    """GPUs in these states; None for one that has not been asked yet."""
    found = [Slot(f"GPU-{number}", Identity(number)) for number in range(len(states))]
    for slot, state in zip(found, states, strict=True):
        if state is not None:
            slot.mark_absent(state, "so")
    return found


@pytest.mark.parametrize(
    ("states", "is_silent"),
    [
        ((), False),
        ((None,), False),
        (("ok",), False),
        (("asleep", "lost"), False),
        (("error", "ok"), False),
        (("error", None), False),
        (("error",), True),
        (("lost", "error"), True),
    ],
)
def test_a_silence_begins_once_every_gpu_was_asked_and_none_answers(
    states: tuple[State | None, ...], is_silent: bool
) -> None:
    silence = Silence()
    silence.observe(slots(*states), 7.0)

    assert silence.since == (7.0 if is_silent else None)


def test_gpus_that_are_being_opened_again_do_not_end_a_silence() -> None:
    silence = Silence()
    silence.observe(slots("error"), 7.0)
    silence.observe(slots(None), 8.0)
    still = silence.since
    silence.observe(slots("ok"), 9.0)

    assert (still, silence.since) == (7.0, None)


def test_nvml_is_opened_again_less_and_less_often_until_a_gpu_answers() -> None:
    silence = Silence()
    opened = []
    for second in range(1000):
        silence.observe(slots("lost"), float(second))
        if silence.has_lasted(float(second)):
            opened.append(second)
            silence.lengthen(float(second))
    reported = silence.is_reported
    silence.observe(slots("ok"), 1000.0)
    after = silence.is_reported
    silence.observe(slots("lost"), 1001.0)

    assert opened == [30, 90, 210, 450, 750]
    assert reported and not after
    assert not silence.has_lasted(1000.0 + FIRST_WAIT) and silence.has_lasted(1001.0 + FIRST_WAIT)


def test_opening_nvml_for_another_reason_does_not_prolong_a_silence() -> None:
    silence = Silence()
    silence.observe(slots("lost"), 0.0)
    silence.lengthen(FIRST_WAIT - 1)

    assert silence.has_lasted(FIRST_WAIT) and not silence.is_reported
