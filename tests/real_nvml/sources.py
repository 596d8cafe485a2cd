"""Fetches packages through their ordinary clients, apt and pip, and unpacks single files of them.

Debian publishes several generations of NVIDIA's library, PyPI the headers of several CUDA releases.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

CLIENT_SECONDS = 120
KEYRINGS = [
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
]
APT_OPTIONS = """
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "{folder}/state";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
"""

Files: TypeAlias = dict[str, bytes]


class Unavailable(Exception):
    """`str` is why a package cannot be had here."""


class Debian(NamedTuple):
    """Packages of a release's non-free component, and the files wanted of them: name to pattern."""

    release: str
    packages: Sequence[str]
    files: dict[str, str]


class Wheel(NamedTuple):
    """A package of PyPI with its version, and the files wanted of it."""

    requirement: str
    files: dict[str, str]


def fetch(source: Debian | Wheel) -> Files:
    """The files' contents by name; Unavailable, with the reason, if they cannot be had."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(source, Wheel):
            _fetch_wheel(source, folder)
        else:
            _fetch_packages(source, folder)
        return {name: _find(folder, pattern) for name, pattern in source.files.items()}


def _find(folder: Path, pattern: str) -> bytes:
    found = [path for path in folder.glob(pattern) if path.is_file() and not path.is_symlink()]
    if len(found) != 1:
        raise Unavailable(f"{len(found)} files like {pattern} in the package, not one")
    return found[0].read_bytes()


def _fetch_wheel(source: Wheel, folder: Path) -> None:
    """For any machine: a header is the same for all."""
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)),
        *("--only-binary", ":all:", "--platform", "manylinux2014_x86_64", source.requirement),
        folder=folder,
    )
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def _fetch_packages(source: Debian, folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("this system has no apt, through which it is fetched from Debian")
    with _apt_of(folder, source.release) as apt:
        _run(*apt, "update", folder=folder)
        _run(*apt, "download", *source.packages, folder=folder)
    for package in folder.glob("*.deb"):
        _run("dpkg-deb", "-x", str(package), str(folder), folder=folder)


@contextmanager
def _apt_of(folder: Path, release: str) -> Iterator[list[str]]:
    """apt-get with lists of its own, of one release: this system's are not touched.

    It checks signatures by the system's keyring.
    """
    keyring = next((path for path in KEYRINGS if path.exists()), None)
    if keyring is None:
        raise Unavailable("this system has no keyring of Debian's archive")
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    source = f"deb [signed-by={keyring}] {_debian_mirror(folder)} {release} non-free\n"
    (folder / "sources.list").write_text(source)
    options = folder / "apt.conf"
    options.write_text(APT_OPTIONS.format(folder=folder))
    yield ["apt-get", "--quiet", f"-c={options}"]


def _debian_mirror(folder: Path) -> str:
    """The mirror that this system's own apt uses."""
    mirrors = _run(
        *("apt-get", "indextargets", "--format", "$(REPO_URI)"),
        *("Created-By: Packages", "Origin: Debian", "Label: Debian"),
        folder=folder,
    ).split()
    if not mirrors:
        raise Unavailable(
            "this system's apt knows no mirror of Debian, or has no package lists (apt-get update)"
        )
    return mirrors[0]


def _run(*command: str, folder: Path) -> str:
    """What the command prints; Unavailable if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        raise Unavailable(f"{Path(command[0]).name} failed: {done.stderr.strip()[-300:]}")
    return done.stdout
