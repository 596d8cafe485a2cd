"""What the machine says about its driver and GPUs, without any program of ours."""

import os
import shutil
import stat
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pynvml

from .nvml import answer, open_driver, plain
from .options import Options
from .record import Recorder

FILE_BYTES = 8192
SMI_CHARACTERS = 200_000
SMI_SECONDS = 12
PCI_FILES = (
    *("vendor", "device", "class", "numa_node", "enable"),
    *("current_link_speed", "current_link_width", "max_link_speed", "max_link_width"),
    *("power/control", "power/runtime_status", "power/runtime_suspended_time"),
)
NVIDIA = "0x10de"
PACKAGES = ("nvidia-ml-py", "pyzmq", "msgpack", "psutil", "torch", "cupy-cuda12x", "cupy-cuda13x")


def collect_facts(record: Recorder, options: Options) -> None:
    """Files, device nodes, nvidia-smi and the list of GPUs."""
    record.note("proc", read_tree(Path("/proc/driver/nvidia")))
    record.note("nodes", device_nodes(Path("/dev")))
    record.note("pci", pci_devices(Path("/sys/bus/pci/devices")))
    record.note("modules", nvidia_modules(Path("/proc/modules")))
    record.note("limits", {"uid": os.getuid(), "cgroup": read_text(Path("/proc/self/cgroup"))})
    record.note("packages", installed_packages())
    record.note("python", sys.version)
    ask_nvidia_smi(record)
    with open_driver(record) as count:
        list_cards(record, options, count)


def list_cards(record: Recorder, options: Options, count: int) -> None:
    """The driver's CUDA version and every GPU that NVML opens."""
    record.note("cuda", answer(pynvml.nvmlSystemGetCudaDriverVersion_v2))
    opened = 0
    for index in range(count):
        record.begin(f"nvmlDeviceGetHandleByIndex of GPU {index}")
        if (handle := answer(pynvml.nvmlDeviceGetHandleByIndex, index)) is not None:
            opened += 1
            record.add("cards", describe_card(index, handle))
    record.check("GPUs that NVML lists can be opened", opened == count, opened, count)
    record.check("the GPU to measure exists", options.gpu < count, options.gpu, f"< {count}")


def describe_card(index: int, handle: Any) -> dict[str, Any]:
    """What identifies a GPU; None where NVML does not say."""
    bus = answer(pynvml.nvmlDeviceGetPciInfo, handle)
    return {
        "index": index,
        "name": plain(answer(pynvml.nvmlDeviceGetName, handle)),
        "uuid": plain(answer(pynvml.nvmlDeviceGetUUID, handle)),
        "pci_bus_id": plain(bus.busId) if bus is not None else None,
        "vbios": plain(answer(pynvml.nvmlDeviceGetVbiosVersion, handle)),
        "mig_mode": answer(pynvml.nvmlDeviceGetMigMode, handle),
        "compute_capability": answer(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
    }


def ask_nvidia_smi(record: Recorder) -> None:
    """The whole of nvidia-smi -q; not checked where the program is missing or fails."""
    record.begin("nvidia-smi -q")
    if shutil.which("nvidia-smi") is None:
        record.unchecked("nvidia-smi is not in PATH")
        return
    try:
        done = subprocess.run(
            ["nvidia-smi", "-q"], capture_output=True, text=True, timeout=SMI_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        record.unchecked(f"nvidia-smi -q took longer than {SMI_SECONDS} s")
        return
    record.note("nvidia_smi", done.stdout[:SMI_CHARACTERS])
    if done.returncode:
        words = (done.stdout + done.stderr).strip()[-200:]
        record.unchecked(f"nvidia-smi -q ended with code {done.returncode}: {words}")


def read_text(path: Path) -> str | None:
    """The beginning of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES).decode(errors="replace").strip()
    except OSError:
        return None


def read_tree(folder: Path) -> dict[str, str | None]:
    """Every file below a folder."""
    return {str(path): read_text(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def device_nodes(folder: Path) -> list[dict[str, Any]]:
    """NVIDIA's device nodes with owner, mode and number."""
    found = []
    for path in sorted([*folder.glob("nvidia*"), *folder.glob("nvidia-caps/*"), folder / "dxg"]):
        try:
            node = path.stat()
        except OSError:
            continue
        number = f"{os.major(node.st_rdev)}:{os.minor(node.st_rdev)}"
        mode = stat.filemode(node.st_mode)
        found.append(
            {"path": str(path), "mode": mode, "owner": f"{node.st_uid}:{node.st_gid}", "id": number}
        )
    return found


def pci_devices(folder: Path) -> dict[str, dict[str, str | None]]:
    """NVIDIA's devices on the PCI bus by address."""
    return {
        device.name: {name: read_text(device / name) for name in PCI_FILES}
        for device in sorted(folder.glob("*"))
        if read_text(device / "vendor") == NVIDIA
    }


def nvidia_modules(path: Path) -> list[str]:
    """The kernel modules that are NVIDIA's or nouveau."""
    lines = (read_text(path) or "").splitlines()
    return [line for line in lines if line.startswith(("nvidia", "nouveau"))]


def installed_packages() -> dict[str, str | None]:
    """Versions of the Python packages that matter here; None for one that is missing."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
