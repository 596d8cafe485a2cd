"""What NVIDIA's own library adds to the collector's memory, without a card.

    python bench/library_memory.py

The collector runs in its own process, as the command runs it, and pushes to this one: once without
a library, then with that of each generation that tools/setup has fetched. The library finds a
kernel module of its version and no GPU behind it. Resident memory after ten snapshots; prints
measurements, asserts nothing.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SNAPSHOTS = 10


def main() -> None:
    from tests.real_nvml.cache import DRIVERS, stored
    from tests.real_nvml.driver_files import DriverFiles, build_shim
    from tests.real_nvml.sources import Unavailable

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled = dict(os.environ, PYTHONPYCACHEPREFIX=str(folder / "bytecode"))
        compiled.pop("PYTHONDONTWRITEBYTECODE", None)
        resident_mb(compiled, folder)  # compiles every module, which would take memory too
        print(f"collector without a library: {resident_mb(compiled, folder):.1f} MB")
        shim = build_shim(folder)
        for each in DRIVERS:
            try:
                driver = DriverFiles(stored(each), shim)
            except Unavailable as error:
                print(error)
                continue
            environment = compiled | driver.variables(module=driver.version)
            print(f"with that of {each}: {resident_mb(environment, folder):.1f} MB")


def resident_mb(environment: Mapping[str, str], folder: Path) -> float:
    """Of a collector with these variables."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.linger = 0
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        config = folder / "config.yml"
        config.write_text(f"name: bench\nrpc_port: {port}\ninterval: 0.5\n")
        command = [sys.executable, "-m", "gpu_monitor", "collector", "--config", str(config)]
        child = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            for _ in range(SNAPSHOTS):
                pull.recv()
            pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
        finally:
            child.kill()
            child.wait()
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


if __name__ == "__main__":
    main()
