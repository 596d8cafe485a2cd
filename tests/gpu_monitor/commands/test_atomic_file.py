"""atomic_file: whole or not at all, with the mode that was asked for."""

import os
import stat
from pathlib import Path

import pytest

from gpu_monitor.commands.atomic_file import write_whole


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_is_replaced_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_whole(str(path), "new\n", mode)
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_whoever_reads_the_old_file_still_has_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        write_whole(str(path), "new", 0o600)
        assert reader.read() == "old"


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(str(path), "\udc80", 0o600)
    assert os.listdir(tmp_path) == ["file"] and path.read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_owner_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(str(path), "new", 0o600, (12345, 54321))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
