"""tools/wheel.py: the content and name of the release that the rollout installs."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from gpu_monitor.wire import __version__
from tests.support.house import ROOT


@pytest.fixture
def wheel(tmp_path: Path) -> ModuleType:
    """The script, working on a copy of the sources."""
    spec = importlib.util.spec_from_file_location("wheel", ROOT / "tools" / "wheel.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in module.sources():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    module.__dict__["ROOT"] = tmp_path
    return module


def test_it_includes_page_and_lock_file_but_no_compiled_files(wheel: ModuleType) -> None:
    (wheel.ROOT / "wire" / "__pycache__").mkdir()
    (wheel.ROOT / "wire" / "__pycache__" / "codec.pyc").write_bytes(b"")
    names = {str(path.relative_to(wheel.ROOT)) for path in wheel.sources()}
    assert {"frontend/app/index.html", "ansible/requirements.txt", "wire/codec.py"} <= names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize("changed", ["wire/codec.py", "ansible/requirements.txt", "setup.cfg"])
def test_a_release_is_named_for_its_version_and_content(wheel: ModuleType, changed: str) -> None:
    before = wheel.release_name()
    assert before.startswith(f"{__version__}-")
    assert wheel.release_name() == before
    with (wheel.ROOT / changed).open("a") as file:
        file.write("\n")
    assert wheel.release_name() != before
