"""Builds the wheel that the rollout installs, once per state of the sources; prints its folder.

The folder also contains a requirements.txt for pip: the wheel and all it needs, each with its hash.
It is named after version and content, so that an unchanged checkout is not built again. The wheel
is built from a copy, because setuptools would include leftovers of earlier builds in build/lib.

If Node.js and frontend/node_modules are installed (tools/setup test), the wheel contains the
bundled page, otherwise its modules as written: the same page, slower to load over a slow line.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import page_bundle

ROOT = Path(__file__).parent.parent
LOCK = "ansible/requirements.txt"
BUNDLER = ("tools/page_bundle.py", "frontend/package-lock.json")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", LOCK, *BUNDLER)
PACKAGES = ("gpu_monitor", "collector", "broker", "web", "wire", "frontend/app")


def sources() -> Iterator[Path]:
    """Every file that affects the wheel, in order."""
    yield from (ROOT / name for name in FILES)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def links() -> Iterator[Path]:
    """The relative links that make the rooms at the top level packages of gpu_monitor."""
    return (path for path in sorted((ROOT / "gpu_monitor").iterdir()) if path.is_symlink())


def release_name(bundled: bool) -> str:
    """The version, and a few digits of a hash of all sources."""
    digest = hashlib.sha256(b"bundled" if bundled else b"modules")
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "wire" / "__init__.py").read_text())
    assert found, "wire/__init__.py names no version"
    return f"{found[1]}-{digest.hexdigest()[:10]}"


def build(to: Path, bundled: bool) -> None:
    """Put the wheel into the folder `to`, atomically; `bundled`: with the page bundled."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        copy, made = Path(folder) / "copy", Path(folder) / "made"
        for path in sources():
            target = copy / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        for link in links():
            (copy / link.relative_to(ROOT)).symlink_to(os.readlink(link))
        if bundled:
            shutil.rmtree(copy / "frontend" / "app")
            page_bundle.write_bundle(copy / "frontend" / "app")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--wheel-dir", str(made), str(copy)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (wheel,) = made.glob("*.whl")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock = (ROOT / LOCK).read_text()
        (made / "requirements.txt").write_text(f"{lock}./{wheel.name} --hash=sha256:{digest}\n")
        try:
            os.rename(made, to)
        except OSError:
            if not to.exists():  # another run has built it at the same time
                raise


def main() -> int:
    bundled = page_bundle.is_available()
    folder = ROOT / "build" / "wheels" / release_name(bundled)
    if not folder.exists():
        try:
            build(folder, bundled)
        except subprocess.CalledProcessError:
            return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
