"""tools/wheel.py: the content and name of the release that the rollout installs."""

import importlib.util
import os
import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from gpu_monitor.wire import __version__
from tests.support.house import ROOT


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, working on a copy of the sources."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    spec = importlib.util.spec_from_file_location("wheel", ROOT / "tools" / "wheel.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for path in module.sources():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for link in module.links():
        (tmp_path / link.relative_to(ROOT)).symlink_to(os.readlink(link))
    module.__dict__["ROOT"] = tmp_path
    return module


def test_it_includes_page_and_lock_file_but_no_compiled_files(wheel: ModuleType) -> None:
    (wheel.ROOT / "wire" / "__pycache__").mkdir()
    (wheel.ROOT / "wire" / "__pycache__" / "codec.pyc").write_bytes(b"")
    names = {str(path.relative_to(wheel.ROOT)) for path in wheel.sources()}
    assert {"frontend/app/index.html", "ansible/requirements.txt", "wire/codec.py"} <= names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(
    "changed", ["wire/codec.py", "ansible/requirements.txt", "frontend/package-lock.json"]
)
def test_a_release_is_named_for_its_version_and_content(wheel: ModuleType, changed: str) -> None:
    before = wheel.release_name()
    assert before.startswith(f"{__version__}-")
    assert wheel.release_name() == before
    with (wheel.ROOT / changed).open("a") as file:
        file.write("\n")
    assert wheel.release_name() != before


@pytest.mark.processes
def test_a_wheel_has_the_page_bundled(wheel: ModuleType, tmp_path: Path) -> None:
    wheel.build(tmp_path / "made")
    (path,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = {
            name for name in archive.namelist() if name.startswith("gpu_monitor/frontend/app/")
        }
        script = archive.read("gpu_monitor/frontend/app/app.js").decode()
    page = {"index.html", "sign-in.html", "style.css", "theme.js", "app.js", "favicon.svg"}
    assert {f"gpu_monitor/frontend/app/{name}" for name in page} <= names
    assert "gpu_monitor/frontend/app/vendor/lit-html.LICENSE.txt" in names
    assert "gpu_monitor/frontend/app/app.js.map" in names
    assert "./pages/live.js" not in script and len(script.splitlines()) < 200
