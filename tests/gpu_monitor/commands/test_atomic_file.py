"""atomic_file: all or nothing, with the requested mode and owner."""

import os
import stat
from pathlib import Path

import pytest

from gpu_monitor.commands.atomic_file import write_atomically


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_is_replaced_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(str(path), "new\n", mode)
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_reader_of_the_old_file_still_sees_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        write_atomically(str(path), "new", 0o600)
        assert reader.read() == "old"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(str(path), "\udc80", 0o600)
    assert os.listdir(tmp_path) == ["file"] and path.read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_root_gives_the_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(str(path), "new", 0o600, (12345, 54321))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
