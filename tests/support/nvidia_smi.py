"""A stand-in for nvidia-smi: the queries of our checks, answered from whatever NVML is loaded."""

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
    "enforced.power.limit": lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "fan.speed": pynvml.nvmlDeviceGetFanSpeed,
    "clocks.sm": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "clocks.mem": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "pcie.link.width.current": pynvml.nvmlDeviceGetCurrPcieLinkWidth,
}


def memory(gpu: Any) -> Any:
    return pynvml.nvmlDeviceGetMemoryInfo(gpu, pynvml.nvmlMemory_v2)


def answer(query: str, gpu: Any) -> str:
    try:
        return str(QUERIES[query](gpu))
    except pynvml.NVMLError:
        return "[N/A]"


def rows(kind: str, queries: list[str]) -> list[list[str]]:
    gpus = [
        pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
    ]
    if kind == "gpu":
        return [[answer(query, gpu) for query in queries] for gpu in gpus]
    return [
        [answer("gpu_uuid", gpu), str(process.pid), str(process.usedGpuMemory // MIB)]
        for gpu in gpus
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu)
    ]


def main() -> int:
    pynvml.nvmlInit()
    first = sys.argv[1]
    if first == "-q":
        print("Driver Version :", pynvml.nvmlSystemGetDriverVersion())
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
