"""The NVML functions that the collector calls and that a generation of the driver lacks."""

SINCE_510 = {"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMPSComputeRunningProcesses_v3"} | {
    f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "Graphics")
}
SINCE_525 = {
    *("nvmlGpmMetricsGet", "nvmlGpmMigSampleGet", "nvmlGpmQueryDeviceSupport"),
    *("nvmlGpmSampleAlloc", "nvmlGpmSampleFree"),
}
SINCE_535 = {"nvmlDeviceGetCurrentClocksEventReasons"}
SINCE_550 = {"nvmlDeviceGetNumaNodeId"}
SINCE_570 = {"nvmlDeviceGetMarginTemperature"}
MISSING = {
    "470": SINCE_510 | SINCE_525 | SINCE_535 | SINCE_550 | SINCE_570,
    "535": SINCE_550 | SINCE_570,
    "550": SINCE_570,
}
"""What the library of a generation lacks of what the collector calls."""
