"""What was fetched, in build/nvidia: a folder for each package, with the checksums of its files.

A folder without files holds the reason why it could not be fetched.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from .sources import Debian, Files, Unavailable, Wheel

CACHE = Path(__file__).parent.parent.parent / "build" / "nvidia"
RETRY_SECONDS = 3600
"""What could not be had is tried again by tools/setup, but not every time."""
CHECKSUMS, REASON = "checksums.json", "unavailable"
LIBRARY, NVIDIA_SMI, HEADER = "libnvidia-ml.so.1", "nvidia-smi", "nvml.h"

_DRIVER_FILES = {
    LIBRARY: "usr/lib/*/nvidia/*/libnvidia-ml.so.[0-9]*.*",
    NVIDIA_SMI: "usr/lib/nvidia/*/nvidia-smi",
}
_HEADER_FILE = {HEADER: "nvidia/*/include/nvml.h"}
WANTED: dict[str, Debian | Wheel] = {
    "driver 470": Debian(
        "bookworm", ["libnvidia-tesla-470-ml1", "nvidia-tesla-470-smi"], _DRIVER_FILES
    ),
    "driver 535": Debian("bookworm", ["libnvidia-ml1", "nvidia-smi"], _DRIVER_FILES),
    "driver 550": Debian("trixie", ["libnvidia-ml1", "nvidia-smi"], _DRIVER_FILES),
    "nvml.h 11.8": Wheel("nvidia-nvml-dev-cu11==11.8.86", _HEADER_FILE),
    "nvml.h 12.9": Wheel("nvidia-nvml-dev-cu12==12.9.79", _HEADER_FILE),
    "nvml.h 13.4": Wheel("nvidia-nvml-dev==13.4.92", _HEADER_FILE),
}
DRIVERS = [name for name in WANTED if name.startswith("driver")]
HEADERS = [name for name in WANTED if name.startswith("nvml.h")]


def stored(name: str, cache: Path = CACHE) -> Path:
    """The folder with its files; Unavailable, with the reason, if they are not there."""
    folder = _folder(name, cache)
    if not folder.exists():
        raise Unavailable(f"{name} was not fetched yet (tools/setup test)")
    if (folder / REASON).exists():
        raise Unavailable(f"{name}: {(folder / REASON).read_text()}")
    expected = json.loads((folder / CHECKSUMS).read_text())
    if expected != {each: _checksum(folder / each) for each in expected}:
        raise Unavailable(f"{name}: a file in {folder} was changed; remove the folder")
    return folder


def store(name: str, found: Files | str, cache: Path = CACHE) -> None:
    """Keep the files, or the reason why there are none, in place of what was kept before."""
    cache.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=cache))
    made.chmod(0o755)
    if isinstance(found, str):
        (made / REASON).write_text(found)
    else:
        for file, content in found.items():
            (made / file).write_bytes(content)
            (made / file).chmod(0o755)
        checksums = {file: _checksum(made / file) for file in found}
        (made / CHECKSUMS).write_text(json.dumps(checksums))
    shutil.rmtree(_folder(name, cache), ignore_errors=True)
    made.rename(_folder(name, cache))


def missing(names: Iterable[str], cache: Path = CACHE) -> list[str]:
    """Those that should be fetched now."""
    return [name for name in names if _is_due(_folder(name, cache))]


def _is_due(folder: Path) -> bool:
    reason = folder / REASON
    if reason.exists():
        return time.time() - reason.stat().st_mtime > RETRY_SECONDS
    return not folder.exists()


def _folder(name: str, cache: Path) -> Path:
    return cache / name.replace(" ", "-")


def _checksum(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
