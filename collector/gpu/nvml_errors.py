"""NVML's error codes, by nvml.h, and what they mean to a user; pure."""

from gpu_monitor.collector.source_guard import failure_text

UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28
UNKNOWN = 999
NO_NVML_ERROR = -1
"""In place of a code, for errors that are not the driver's."""

UNSUPPORTED = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND, 22, 24, 25, 26})
"""Answers that stay the same until NVML is opened again: such a call is not made a second time."""
TOO_OLD = UNSUPPORTED - {NOT_SUPPORTED}
"""Answers of a driver that does not know a function."""
LOST = frozenset({GPU_IS_LOST, GPU_NOT_FOUND})
CLOSED = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH})
"""The library has no driver to talk to: it has to be opened again."""
FATAL = LOST | CLOSED | {RESET_REQUIRED}
"""Answers about the whole GPU, whichever function was called."""

_ERROR_WORDS = {
    UNINITIALIZED: "the driver was reloaded; connecting to it again",
    INVALID_ARGUMENT: "the driver rejected an argument",
    NOT_SUPPORTED: "not supported by this GPU or driver",
    NO_PERMISSION: "no permission to access the NVIDIA driver: check the permissions of"
    " /dev/nvidia*",
    NOT_FOUND: "not found",
    INSUFFICIENT_SIZE: "the list kept growing while it was read",
    8: "the GPU's power cables are not attached properly: connect them",
    DRIVER_NOT_LOADED: "NVIDIA driver not loaded: load its kernel module (modprobe nvidia)",
    TIMEOUT: "the driver timed out waiting for the GPU",
    11: "the driver receives no interrupts from the GPU",
    LIBRARY_NOT_FOUND: "no NVIDIA driver here (libnvidia-ml.so.1 not found)",
    FUNCTION_NOT_FOUND: "this driver is too old to report it",
    14: "the GPU's infoROM is corrupted: the card has to be repaired or replaced",
    GPU_IS_LOST: "fell off the bus (GPU is lost): reset the GPU or reboot",
    RESET_REQUIRED: "unusable until it is reset (nvidia-smi --gpu-reset) or the host is rebooted",
    17: "the GPU or the driver failed to initialize: search the kernel log for NVRM and Xid",
    LIB_RM_VERSION_MISMATCH: "the driver was upgraded, and its library does not match the loaded"
    " kernel module: reboot the host",
    19: "in use by another program",
    20: "the host is out of memory",
    23: "the driver has no resources left for this: end other programs that monitor the GPU",
    27: "the GPU is not ready: with confidential computing it has to be set ready (nvidia-smi"
    " conf-compute -srs 1); with NVLink the fabric has to be up (nvidia-fabricmanager)",
    GPU_NOT_FOUND: "no longer present (GPU not found), because it fell off the bus or was removed",
    29: "the GPU is in a state in which the driver cannot do this (is it being reset?)",
    UNKNOWN: "the driver reports an unknown error: search the kernel log for NVRM and Xid",
}


class NvmlError(Exception):
    """The NVML function `function` failed with error `code`; `str` is what that means."""

    def __init__(self, code: int, function: str) -> None:
        super().__init__(code, function)
        self.code = code
        self.function = function

    def __str__(self) -> str:
        return words(self.code)


class InternalError(NvmlError):
    """A fault of ours or of nvidia-ml-py in place of an answer, such as a missing function."""

    def __init__(self, function: str, cause: Exception) -> None:
        super().__init__(NO_NVML_ERROR, function)
        self.cause = failure_text(cause)

    def __str__(self) -> str:
        return f"internal error: {self.cause}"


class OpeningStuck(NvmlError):
    """In place of an answer, for a GPU that the driver does not finish opening."""

    def __init__(self, function: str) -> None:
        super().__init__(NO_NVML_ERROR, function)

    def __str__(self) -> str:
        return f"cannot be opened: the driver is stuck in {self.function}"


class ImplausibleAnswer(NvmlError):
    """The driver's answer cannot be decoded, because it is not laid out as its header says."""

    def __init__(self, function: str) -> None:
        super().__init__(NO_NVML_ERROR, function)

    def __str__(self) -> str:
        return "the driver's list of them makes no sense: upgrade the driver"


def words(code: int) -> str:
    """What an error code means, and what to do about it where something can be done."""
    return _ERROR_WORDS.get(code, f"the driver reports error {code}")


def words_unopened(code: int) -> str:
    """The same for a GPU that could not be opened."""
    if code == UNKNOWN:
        return (
            "could not be opened (unknown error): often it fell off the bus; search the kernel log"
            " for NVRM and Xid"
        )
    return words(code)
