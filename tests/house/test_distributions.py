"""The source distribution and the wheel: their contents, and installing beside other packages."""

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.house import ROOT

pytestmark = pytest.mark.processes

NOT_COPIED = (
    *(".*", "*.egg-info", "PKG-INFO", "build", "dist", "node_modules", "__pycache__"),
    "screenshots",
)
LOCAL_FILES = (
    "ansible/hosts",
    "frontend/node_modules/lit/index.js",
    "tests/screenshots/page.png",
    "wire/__pycache__/codec.pyc",
)
"""Ignored files that no distribution may contain, such as the inventory of a site."""
ROOMS = ("broker", "collector", "frontend", "web", "wire")


class Built(NamedTuple):
    """`checkout` is the copy both were built from, `source` the unpacked sdist."""

    checkout: Path
    source: Path
    wheel: Path


def build(kind: str, project: Path, to: Path) -> Path:
    """Call the build backend as pip does; `kind` is wheel, sdist or editable."""
    script = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", script, str(to)]
    subprocess.run(command, cwd=project, check=True, timeout=120)
    (built,) = to.iterdir()
    return built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("distributions")
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for name in LOCAL_FILES:
        (checkout / name).unlink(missing_ok=True)
    with tarfile.open(build("sdist", used_copy(checkout, "1"), folder / "sdist")) as archive:
        archive.extractall(folder)
    (source,) = folder.glob("gpu_monitor-*")
    return Built(checkout, source, build("wheel", used_copy(checkout, "2"), folder / "wheel"))


def used_copy(checkout: Path, name: str) -> Path:
    """A copy of a checkout in use, to build in: a build leaves files behind."""
    copy = checkout.with_name(name)
    shutil.copytree(checkout, copy, symlinks=True)
    for local in LOCAL_FILES:
        (copy / local).parent.mkdir(parents=True, exist_ok=True)
        (copy / local).write_text("local\n")
    return copy


def contents(wheel: Path) -> dict[str, bytes]:
    """The contents of the files of a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_sdist_contains_every_file_of_the_project_and_no_local_one(built: Built) -> None:
    packed = {name for name in files(built.source) if ".egg-info" not in name}
    assert packed - {"PKG-INFO"} == files(built.checkout)


def test_the_sdist_keeps_the_rooms_as_relative_links(built: Built) -> None:
    links = {path for path in (built.source / "gpu_monitor").iterdir() if path.is_symlink()}
    assert {str(link.readlink()) for link in links} == {f"../{room}" for room in ROOMS}


def test_the_sdist_builds_the_wheel_of_the_checkout(built: Built, tmp_path: Path) -> None:
    assert contents(build("wheel", built.source, tmp_path / "out")) == contents(built.wheel)


def test_the_wheel_contains_only_the_package_gpu_monitor(built: Built) -> None:
    names = contents(built.wheel)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gpu_monitor"}
    assert "gpu_monitor/frontend/app/index.html" in names
    assert not [name for name in names if "/tests/" in name]


def test_the_wheel_contains_config_yml_as_the_sample(built: Built) -> None:
    sample = contents(built.wheel)["gpu_monitor/config/sample.yml"]
    assert sample == (ROOT / "config.yml").read_bytes()


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a fresh environment with pip and all requirements, but without GPU Monitor."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site_packages(tmp_path) / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv" / "bin" / "python"


def site_packages(folder: Path) -> Path:
    (found,) = (folder / "venv" / "lib").glob("python*/site-packages")
    return found


def install(wheel: Path, python: Path) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-index", "--no-deps", "--ignore-installed", str(wheel)]
    subprocess.run(command, check=True, timeout=120)


def output_of(*command: Path | str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=-1, text=True).stdout


def test_the_wheel_does_not_shadow_web_py(built: Built, python: Path, tmp_path: Path) -> None:
    shared = site_packages(tmp_path)
    for part in importlib.metadata.files("web.py") or ():
        (shared / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(part.locate()), shared / part)
    install(built.wheel, python)
    show = "import web, gpu_monitor.web; print(web.application.__module__, web.__file__)"
    module, file = output_of(python, "-c", show, cwd=tmp_path).split()
    assert (module, Path(file)) == ("web.application", shared / "web" / "__init__.py")
    command = python.with_name("gpu-monitor")
    assert "live, on one page" in output_of(command, "--help", cwd=tmp_path)


def test_an_editable_install_runs_the_rooms_of_the_checkout(
    built: Built, python: Path, tmp_path: Path
) -> None:
    install(build("editable", built.source, tmp_path / "out"), python)
    show = "import gpu_monitor.collector.main as main; print(main.__file__)"
    file = output_of(python, "-c", show, cwd=tmp_path).strip()
    assert Path(file).resolve() == built.source / "collector" / "main.py"
