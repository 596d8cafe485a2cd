"""Idle times survive a restart of the collector, and no invalid file prevents it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.activity import Idle
from gpu_monitor.collector.activity_file import SAVE_IDLE_SECONDS, ActivityFile, load_idle

KNOWN = {
    "GPU-1": Idle(since=100.5, blip_at=None, seen_at=200.0),
    "GPU-1/42/7": Idle(since=None, blip_at=150.0, seen_at=200.0),
}


def test_saved_idle_times_are_loaded_again(tmp_path: Path) -> None:
    ActivityFile(str(tmp_path), "boot").save(KNOWN, 0.0)

    assert load_idle(str(tmp_path), "boot") == KNOWN
    assert [path.name for path in tmp_path.iterdir()] == ["idle.json"]


def test_times_from_another_boot_are_ignored(tmp_path: Path) -> None:
    ActivityFile(str(tmp_path), "boot").save(KNOWN, 0.0)

    assert load_idle(str(tmp_path), "another") == {}


def test_nothing_is_saved_without_a_folder() -> None:
    ActivityFile(None, "boot").save(KNOWN, 0.0)

    assert load_idle(None, "boot") == {}


@pytest.mark.parametrize("is_kept", [True, False])
def test_saving_is_due_every_thirty_seconds(is_kept: bool, tmp_path: Path) -> None:
    file = ActivityFile(str(tmp_path) if is_kept else None, "boot")
    file.save({}, 0.0)

    assert [file.is_due(second) for second in (1.0, SAVE_IDLE_SECONDS - 1, SAVE_IDLE_SECONDS)] == [
        False,
        False,
        True,
    ]


def test_a_missing_folder_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = ActivityFile(str(tmp_path / "absent"), "boot")

    for second in range(3):
        file.save(KNOWN, float(second))

    assert len(caplog.messages) == 1 and "will not survive" in caplog.messages[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        '{"boot_id": "boot"}',
        '{"boot_id": "boot", "idle": 3}',
        '{"boot_id": "boot", "idle": {"a": [1]}}',
        '{"boot_id": "boot", "idle": {"a": [1, 2, "x"]}}',
        '{"boot_id": "boot", "idle": {"a": [NaN, null, 3]}}',
        '{"boot_id": "boot", "idle": {"a": [1, null, null]}}',
        f'{{"boot_id": "boot", "idle": {{"a": [1{"0" * 400}, null, 3]}}}}',
        "[" * 100_000,
    ],
)
def test_an_invalid_file_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "idle.json").write_text(content)

    assert load_idle(str(tmp_path), "boot") == {}


@given(content=st.binary(max_size=200))
def test_no_content_of_the_file_prevents_the_start(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / "idle.json").write_bytes(content)

    assert load_idle(str(folder), "boot") == {}
