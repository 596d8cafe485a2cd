"""Impossible values are null; what holds the clocks down is put into words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_monitor.collector.gpu import plausible
from tests.support.house import ROOT


def test_possible_values_are_kept_and_impossible_ones_are_null() -> None:
    assert [plausible.percent(value) for value in (0, 100, 101, 2**32 - 1)] == [0, 100, None, None]
    assert [plausible.celsius(value) for value in (0, 200, 201)] == [0, 200, None]
    assert [plausible.watts(value) for value in (0, 312_400, 2**32 - 1)] == [0.0, 312.4, None]
    assert [plausible.mhz(value) for value in (0, 2619, 10**6)] == [0, 2619, None]


def test_memory_used_beyond_the_total_is_null() -> None:
    assert plausible.memory_bytes((100, 40)) == (100, 40)
    assert plausible.memory_bytes((100, 101)) == (100, None)
    assert plausible.memory_bytes((0, 0)) == (None, 0)
    assert plausible.memory_bytes((2**64 - 1, 2**64 - 1)) == (None, None)
    assert plausible.memory_bytes(None) == (None, None)


def test_an_idle_gpu_is_not_throttled() -> None:
    assert plausible.throttle(0x1) == ()
    assert plausible.throttle(0x1 | 0x4) == ("power limit",)
    assert plausible.throttle(None) is None


@pytest.mark.processes
def test_the_page_shows_a_gpu_as_hot_when_heat_throttles_it() -> None:
    words = [plausible.throttle(bit) for bit in (0x20, 0x40, 0x4)]
    script = f"""
        import {{ isHot }} from "./app/state/states.js";
        const gpus = {{ throttle: {json.dumps(words)} }};
        console.log(gpus.throttle.map((_, row) => isHot(gpus, row)).join());
    """
    done = subprocess.run(
        [Path(sys.executable).parent / "node", "--input-type=module", "-e", script],
        cwd=ROOT / "frontend",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "true,true,false"
