"""The fake NVML as a shared library: built once per version of its source, then loaded."""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from .scenario import Scenario

SONAME = "libnvidia-ml.so.1"
SOURCE = Path(__file__).parent
BUILDS = SOURCE.parent.parent / "build" / "fake_nvml"
FLAGS = [
    *("-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread", "-shared"),
    *shlex.split(os.environ.get("FAKE_NVML_CFLAGS", "")),
]
LINKER_FLAGS = [f"-Wl,-soname,{SONAME}"]


class BuildError(Exception):
    """The library cannot be built; `str` names what is missing."""


def library_folder(builds: Path = BUILDS, lacking: Collection[str] = ()) -> Path:
    """The folder with the built library, for LD_LIBRARY_PATH; BuildError without a C compiler.

    Each version of the source has a folder of its own in `builds`, and is built once. `lacking` are
    functions that it does not have, as an old one.
    """
    sources = sorted(SOURCE.glob("*.[ch]"))
    digest = hashlib.sha256(" ".join([*FLAGS, *LINKER_FLAGS, *sorted(lacking)]).encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = builds / digest.hexdigest()[:16]
    if not (folder / SONAME).exists():
        _build([source for source in sources if source.suffix == ".c"], folder, lacking)
    return folder


def compiler() -> list[str]:
    """The C compiler, as the words of a command; BuildError if there is none."""
    words = shlex.split(os.environ.get("CC", "cc"))
    if not shutil.which(words[0]):
        raise BuildError(
            f"no C compiler: '{words[0]}' is not in PATH."
            " Install one (Debian, Ubuntu: apt-get install gcc libc6-dev) or set CC."
        )
    return words


def _build(sources: list[Path], folder: Path, lacking: Collection[str]) -> None:
    command = compiler()
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / "lacking"
    hidden.write_text(f"{{ local: {' '.join(f'{name};' for name in sorted(lacking))} }};\n")
    options = [*LINKER_FLAGS, f"-Wl,--version-script={hidden}"] if lacking else LINKER_FLAGS
    # Tests may run in parallel: each builds its own, and the last one stays.
    handle, target = tempfile.mkstemp(dir=folder)
    os.close(handle)
    command = [*command, *FLAGS, *options, "-o", target, *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        os.unlink(target)
        raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr}")
    os.replace(target, folder / SONAME)


class FakeNvml:
    """The library, loaded into this process where nvidia-ml-py finds it, and its scenario file.

    Loading it first is enough, because the dynamic loader finds a loaded library by its soname. It
    stays loaded for the life of the process; after `close` NVML calls fail as without a library.
    """

    def __init__(self, scenario_path: Path) -> None:
        self.path = scenario_path
        self.folder = library_folder()
        self._library = ctypes.CDLL(str(self.folder / SONAME), mode=ctypes.RTLD_GLOBAL)
        self._library.fakeNvmlCalls.restype = ctypes.c_ulonglong
        self._library.fakeNvmlCalls.argtypes = [ctypes.c_char_p]
        self._library.fakeNvmlReset.argtypes = [ctypes.c_char_p]
        if not hasattr(ctypes.CDLL(SONAME), "fakeNvmlCalls"):
            raise RuntimeError("the driver's own NVML is already loaded in this process")
        Scenario().write(self.path)
        self._library.fakeNvmlReset(os.fsencode(self.path))

    def write(self, scenario: Scenario) -> None:
        """Write the scenario; it takes effect with the next call in this process."""
        scenario.write(self.path)
        self._library.fakeNvmlReload()

    def calls(self, name: str | None = None) -> int:
        """Calls of a function here since this object was created; None: of all functions."""
        if name is None:
            return int(self._library.fakeNvmlCalls(None))
        if not hasattr(self._library, name):
            raise AttributeError(f"the fake NVML has no {name}")
        return int(self._library.fakeNvmlCalls(name.encode()))

    def hanging(self) -> int:
        """How many threads of this process currently hang in a call."""
        return int(self._library.fakeNvmlHanging())

    def event_sets(self) -> int:
        """How many event sets of this process were created and not freed."""
        return int(self._library.fakeNvmlEventSets())

    def samples(self) -> int:
        """How many GPM samples are allocated in this process."""
        return int(self._library.fakeNvmlSamples())

    def environment(self) -> dict[str, str]:
        """An environment in which another process uses the fake with this scenario."""
        return {**os.environ, **variables(self.folder, self.path)}

    def close(self) -> None:
        """Release hanging calls; from now on this process has no NVML."""
        self._library.fakeNvmlReset(b"")


def variables(folder: Path, scenario: Path) -> dict[str, str]:
    """The two environment variables that make a process use the fake."""
    before = os.environ.get("LD_LIBRARY_PATH")
    return {
        "LD_LIBRARY_PATH": f"{folder}:{before}" if before else str(folder),
        "FAKE_NVML_SCENARIO": str(scenario),
    }
