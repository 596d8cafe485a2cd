"""A plain Debian for the lab's machines, built once and kept as a tarball in build/."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.house import ROOT

BUILDS = ROOT / "build" / "lab"
RELEASE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-venv,python3-apt,sudo,iproute2,"
    "ca-certificates,procps"
)
USER, PASSWORD = "ops", "let-me-in 7"
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))


def debian_sources() -> Path | None:
    """The apt source of this machine for that release; None if it has none."""
    for path in SOURCES:
        if path.is_file() and RELEASE in path.read_text():
            return path
    return None


def tarball(packages: str = PACKAGES) -> Path:
    """The tarball of the tree; it is built unless there is one for these packages."""
    digest = hashlib.sha256(f"{RELEASE} {packages} {USER} {PASSWORD}".encode()).hexdigest()
    path = BUILDS / f"debian-{digest[:12]}.tar"
    if not path.exists():
        BUILDS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILDS) as folder:
            packed = Path(folder) / "debian.tar"
            _make(packages, Path(folder) / "tree", packed)
            os.replace(packed, path)
    return path


def _make(packages: str, tree: Path, packed: Path) -> None:
    sources = debian_sources()
    assert sources is not None
    _call(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={packages}",
        RELEASE,
        str(tree),
        str(sources),
    )
    for path in (tree / "etc" / "apt" / "sources.list.d").iterdir():
        path.unlink()
    (tree / "etc" / "apt" / "sources.list").unlink(missing_ok=True)
    _call("chroot", str(tree), "useradd", "-m", "-s", "/bin/bash", "-G", "sudo", USER)
    _call("chroot", str(tree), "chpasswd", given=f"{USER}:{PASSWORD}\n")
    for path in (tree / "etc" / "machine-id", tree / "etc" / "hostname"):
        path.write_text("")
    _call("tar", "-C", str(tree), "--xattrs", "-cf", str(packed), ".")
    shutil.rmtree(tree)


def _call(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
