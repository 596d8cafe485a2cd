"""What was turned away is counted each time and logged once a minute."""

import pytest

from gpu_monitor.web.rejections import LATE, MALFORMED, Rejections


def test_each_reason_is_logged_once_a_minute_with_the_number_of_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds = [0.0]
    rejections = Rejections(lambda: seconds[0])
    for at in (0.0, 1.0, 59.9, 60.0, 61.0, 121.0):
        seconds[0] = at
        rejections.count(MALFORMED, f"at {at}")
    rejections.count(LATE, "late")
    assert caplog.messages == [
        "at 0.0",
        "at 60.0 (2 more since this was last logged)",
        "at 121.0 (1 more since this was last logged)",
        "late",
    ]
    assert rejections.counts == {"malformed": 6, "oversized": 0, "late": 1, "crowded": 0}
