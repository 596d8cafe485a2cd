"""What NVML reports about a GPU's links: PCIe to the host, NVLink to other GPUs.

Each function may block for as long as the driver does, and raises NvmlError.
"""

from typing import Any

import pynvml

from gpu_monitor.collector.gpu.nvml_errors import (
    INVALID_ARGUMENT,
    NOT_SUPPORTED,
    UNSUPPORTED,
    NvmlError,
)
from gpu_monitor.collector.gpu.nvml_handle import Handle

_UP = (1, 2)
"""NVLink states: active, or asleep because there is no traffic (NVML_NVLINK_STATE_*).

0 is inactive, 3 is active but of no use for traffic.
"""
_MAX_LINKS = 64
"""Twice as many as any card has."""


def pcie_generation(handle: Handle) -> int:
    """The link's generation now; it falls while the GPU is idle, to save power."""
    return int(_call(handle, pynvml.nvmlDeviceGetCurrPcieLinkGeneration))


def pcie_width(handle: Handle) -> int:
    """How many lanes the link uses."""
    return int(_call(handle, pynvml.nvmlDeviceGetCurrPcieLinkWidth))


def pcie_max_width(handle: Handle) -> int:
    """How many lanes it could use: the smaller of what the card and its slot have."""
    return int(_call(handle, pynvml.nvmlDeviceGetMaxPcieLinkWidth))


def nvlink_count(handle: Handle) -> int:
    """How many NVLinks the GPU has; NvmlError NOT_SUPPORTED for none."""
    name = pynvml.nvmlDeviceGetFieldValues.__name__
    (answer,) = _fields(handle, [pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT])
    if answer.nvmlReturn or not 0 < answer.value.uiVal <= _MAX_LINKS:
        raise NvmlError(int(answer.nvmlReturn) or NOT_SUPPORTED, name)
    return int(answer.value.uiVal)


def nvlinks_up(handle: Handle, count: int) -> int:
    """How many of the first `count` NVLinks are up: by one call, or on older drivers one a link."""
    name = pynvml.nvmlDeviceGetFieldValues.__name__
    asked = [(pynvml.NVML_FI_DEV_NVLINK_GET_STATE, link) for link in range(count)]
    answers = _fields(handle, asked)
    failures = {int(answer.nvmlReturn) for answer in answers} - {0}
    if not failures:
        return sum(answer.value.uiVal in _UP for answer in answers)
    if failures <= UNSUPPORTED | {INVALID_ARGUMENT}:
        return sum(_is_active(handle, link) for link in range(count))
    raise NvmlError(min(failures), name)


def _is_active(handle: Handle, link: int) -> bool:
    state = handle.trace.call(pynvml.nvmlDeviceGetNvLinkState, handle.pointer, link)
    return bool(state == pynvml.NVML_FEATURE_ENABLED)


def _call(handle: Handle, wrapper: Any) -> Any:
    return handle.trace.call(wrapper, handle.pointer)


def _fields(handle: Handle, fields: list[Any]) -> Any:
    return handle.trace.call(pynvml.nvmlDeviceGetFieldValues, handle.pointer, fields)
