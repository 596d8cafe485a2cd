"""What becomes of files that were fetched, or could not be."""

import os
import time
from pathlib import Path

import pytest

from .cache import DRIVERS, RETRY_SECONDS, WANTED, missing, store, stored
from .sources import Unavailable, fetch

NAME = DRIVERS[0]


def test_files_are_kept_under_their_checksums(tmp_path: Path) -> None:
    assert missing([NAME], tmp_path) == [NAME]
    store(NAME, {"nvidia-smi": b"#!"}, tmp_path)
    assert (stored(NAME, tmp_path) / "nvidia-smi").read_bytes() == b"#!"
    assert missing([NAME], tmp_path) == []


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"!"), Path.unlink])
def test_a_file_that_was_changed_is_not_used(tmp_path: Path, change: object) -> None:
    store(NAME, {"nvidia-smi": b"#!"}, tmp_path)
    assert callable(change)
    change(stored(NAME, tmp_path) / "nvidia-smi")
    with pytest.raises(Unavailable, match="was changed"):
        stored(NAME, tmp_path)


def test_what_could_not_be_fetched_says_why_and_is_tried_again_later(tmp_path: Path) -> None:
    store(NAME, "no network", tmp_path)
    with pytest.raises(Unavailable, match=f"{NAME}: no network"):
        stored(NAME, tmp_path)
    assert missing([NAME], tmp_path) == []
    reason = next(tmp_path.rglob("unavailable"))
    long_ago = time.time() - RETRY_SECONDS - 1
    os.utime(reason, (long_ago, long_ago))
    assert missing([NAME], tmp_path) == [NAME]
    store(NAME, {"nvidia-smi": b"#!"}, tmp_path)
    assert stored(NAME, tmp_path).is_dir()


def test_before_tools_setup_has_run_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="tools/setup test"):
        stored(NAME, tmp_path)


def test_a_system_without_apt_has_no_packages_of_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no apt"):
        fetch(WANTED[NAME])


@pytest.mark.processes
def test_a_system_whose_apt_knows_no_debian_has_no_packages_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"keyring|no mirror of Debian"):
        fetch(WANTED[NAME])


@pytest.mark.processes
def test_the_words_of_a_client_that_fails_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match="No matching distribution"):
        fetch(WANTED["nvml.h 12.9"])
