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
    before = wheel.release_name(True)
    assert before.startswith(f"{__version__}-")
    assert wheel.release_name(True) == before
    with (wheel.ROOT / changed).open("a") as file:
        file.write("\n")
    assert wheel.release_name(True) != before


def page_of(wheel: ModuleType, to: Path, bundled: bool) -> dict[str, str]:
    """The page's files in a wheel, by their path below frontend/app/."""
    wheel.build(to, bundled)
    (path,) = to.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = (name for name in archive.namelist() if "frontend/app/" in name)
        return {name.split("frontend/app/")[1]: archive.read(name).decode() for name in names}


@pytest.mark.processes
def test_a_wheel_has_the_page_bundled(wheel: ModuleType, tmp_path: Path) -> None:
    page = page_of(wheel, tmp_path / "made", bundled=True)
    whole = {"index.html", "sign-in.html", "style.css", "theme.js", "app.js", "favicon.svg"}
    assert {*whole, "app.js.map", "vendor/lit-html.LICENSE.txt"} <= page.keys()
    assert "pages/live.js" not in page
    assert "./pages/live.js" not in page["app.js"] and "\n  " not in page["app.js"][:200]


@pytest.mark.processes
def test_without_node_a_wheel_has_the_modules_as_written(wheel: ModuleType, tmp_path: Path) -> None:
    page = page_of(wheel, tmp_path / "made", bundled=False)
    for name in ("index.html", "app.js", "pages/live.js", "vendor/lit-html.js"):
        assert page[name] == (wheel.ROOT / "frontend" / "app" / name).read_text()
    assert "app.js.map" not in page


def test_a_release_with_a_bundled_page_has_another_name(wheel: ModuleType) -> None:
    assert wheel.release_name(True) != wheel.release_name(False)
