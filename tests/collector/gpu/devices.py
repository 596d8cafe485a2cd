"""A busy GPU, and its readings, for the tests of devices."""

from gpu_monitor.collector.gpu.device import Device
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Trace
from gpu_monitor.collector.gpu.readings import GpuReading
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Gpu, Scenario

BUSY = Gpu(
    name="NVIDIA A100",
    uuid="GPU-1",
    pci_bus_id="00000000:3B:00.0",
    memory_total_mib=81920,
    memory_used_mib=1024,
    memory_reserved_mib=500,
    utilization_percent=87,
    memory_controller_utilization_percent=41,
    temperature_celsius=66,
    slowdown_celsius=89,
    power_watts=312.4,
    power_limit_watts=400,
    fan_percent=30,
    sm_clock_mhz=1410,
    memory_clock_mhz=1593,
    energy_joules=123_456_789.75,
    throttle_reasons=0x4 | 0x40,
)


def device(index: int = 0, **options: str) -> Device:
    return Device(index, Handle.by_index(index, Trace()), **options)


def read(gpu: Gpu, fake: FakeNvml, *calls: Call) -> GpuReading:
    fake.write(Scenario(gpus=[gpu], calls=calls))
    return device().read(0.0)
