"""NVML for the stages, straight through nvidia-ml-py: the product's own readings are on trial."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from .record import Recorder, Unchecked


def code_of(error: pynvml.NVMLError) -> int:
    """NVML's error code."""
    return int(getattr(error, "value", 999))


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns; None where it fails."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


@contextmanager
def open_driver(record: Recorder) -> Iterator[int]:
    """NVML, with the number of GPUs that it lists; Unchecked without a driver or a GPU."""
    record.begin("nvmlInit")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Unchecked(f"no NVIDIA driver: nvmlInit says {code_of(error)}, {error}") from None
    try:
        record.note("driver", answer(pynvml.nvmlSystemGetDriverVersion))
        if not (count := pynvml.nvmlDeviceGetCount()):
            raise Unchecked("no GPU: NVML lists none")
        yield count
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def open_gpu(record: Recorder, gpu: int) -> Iterator[Any]:
    """The handle of a GPU; Unchecked where there is no driver or no such GPU."""
    with open_driver(record) as count:
        if gpu >= count:
            raise Unchecked(f"no GPU {gpu}: NVML lists {count}")
        record.begin(f"nvmlDeviceGetHandleByIndex of GPU {gpu}")
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
        except pynvml.NVMLError as error:
            raise Unchecked(f"GPU {gpu} cannot be opened: {code_of(error)}, {error}") from None
        yield handle


def plain(value: Any) -> Any:
    """An answer of NVML as JSON holds it; a handle becomes the word "handle"."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, ctypes.Structure):
        return {field[0]: plain(getattr(value, field[0])) for field in value._fields_}
    if isinstance(value, pynvml.c_nvmlValue_t):
        return int(value.ullVal)
    if isinstance(value, ctypes.Union | ctypes._Pointer):
        return "handle"
    if isinstance(value, ctypes._SimpleCData):
        return plain(value.value)
    if isinstance(value, list | tuple | ctypes.Array):
        return [plain(each) for each in value[:8]]
    if hasattr(value, "__dict__"):  # nvidia-ml-py's own objects
        return {name: plain(member) for name, member in vars(value).items()}
    return value
