"""A stand-in for nvidia-smi: what our checks ask, answered from whatever NVML is loaded.

tests/real_nvml compares it with NVIDIA's own where that could be fetched.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

MIB = 1 << 20
COMPUTE_MODES = ("Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process")
QUERIES: dict[str, Callable[[Any], Any]] = {
    "index": pynvml.nvmlDeviceGetIndex,
    "uuid": pynvml.nvmlDeviceGetUUID,
    "gpu_uuid": pynvml.nvmlDeviceGetUUID,
    "name": pynvml.nvmlDeviceGetName,
    "pci.bus_id": lambda gpu: pynvml.nvmlDeviceGetPciInfo(gpu).busId,
    "mig.mode.current": lambda gpu: ("Disabled", "Enabled")[pynvml.nvmlDeviceGetMigMode(gpu)[0]],
    "compute_mode": lambda gpu: COMPUTE_MODES[pynvml.nvmlDeviceGetComputeMode(gpu)],
    "memory.total": lambda gpu: memory(gpu).total // MIB,
    "memory.used": lambda gpu: memory(gpu).used // MIB,
    "utilization.gpu": lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "utilization.memory": lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).memory,
    "temperature.gpu": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, 0),
    "power.draw": lambda gpu: f"{pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000:.2f}",
    "enforced.power.limit": (
        lambda gpu: f"{pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000:.2f}"
    ),
    "fan.speed": pynvml.nvmlDeviceGetFanSpeed,
    "clocks.sm": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "clocks.mem": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "clocks_throttle_reasons.active": (
        lambda gpu: f"0x{pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu):016X}"
    ),
    "pcie.link.width.current": pynvml.nvmlDeviceGetCurrPcieLinkWidth,
}
SLOWDOWN = pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN


def memory(gpu: Any) -> Any:
    return pynvml.nvmlDeviceGetMemoryInfo(gpu, pynvml.nvmlMemory_v2)


def answer(query: str, gpu: Any) -> str:
    try:
        return str(QUERIES[query](gpu))
    except pynvml.NVMLError:
        return "[N/A]"


def all_gpus() -> list[Any]:
    return [
        pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
    ]


def rows(kind: str, queries: list[str]) -> list[list[str]]:
    if kind == "gpu":
        return [[answer(query, gpu) for query in queries] for gpu in all_gpus()]
    return [
        [answer("gpu_uuid", gpu), str(process.pid), str(process.usedGpuMemory // MIB)]
        for gpu in all_gpus()
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu)
    ]


def details() -> list[str]:
    """Of `-q`: what our checks read."""
    lines = [f"Driver Version : {pynvml.nvmlSystemGetDriverVersion()}"]
    for gpu in all_gpus():
        lines.append(f"GPU {answer('pci.bus_id', gpu)}")
        lines.append(
            f"    GPU Slowdown Temp : {pynvml.nvmlDeviceGetTemperatureThreshold(gpu, SLOWDOWN)} C"
        )
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu):
            lines += [f"    Process ID : {process.pid}", "    Type : C"]
    return lines


def listing() -> list[str]:
    """Of `-L`, for GPUs that are not divided."""
    return [
        f"GPU {index}: {answer('name', gpu)} (UUID: {answer('uuid', gpu)})"
        for index, gpu in enumerate(all_gpus())
    ]


def main() -> int:
    pynvml.nvmlInit()
    first = sys.argv[1]
    if first in ("-q", "-L"):
        print("\n".join(details() if first == "-q" else listing()))
        return 0
    kind, names = first.removeprefix("--query-").split("=")
    for row in rows("gpu" if kind == "gpu" else "apps", names.split(",")):
        print(", ".join(row))
    return 0


def install(folder: Path) -> None:
    """Put it into a folder for PATH."""
    root = Path(__file__).parent.parent.parent
    program = folder / "nvidia-smi"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.support.nvidia_smi import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
