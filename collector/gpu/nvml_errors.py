"""What NVML's error codes mean to a reading, in plain words; the numbers are nvml.h's; pure."""

UNINITIALIZED = 1
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

UNSUPPORTED = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND, 22, 24, 25, 26})
"""Answers that will not change until NVML is opened again: the call is not made any more."""
LOST = frozenset({GPU_IS_LOST, GPU_NOT_FOUND})
CLOSED = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, LIB_RM_VERSION_MISMATCH})
"""The library has no driver to talk to any more: it has to be opened again."""
FATAL = LOST | CLOSED | {RESET_REQUIRED}
"""Answers about the whole GPU, whatever was asked."""

_WORDS = {
    UNINITIALIZED: "the driver was reloaded, opening it again",
    2: "invalid argument",
    NOT_SUPPORTED: "not supported by this GPU or driver",
    NO_PERMISSION: "no permission to ask the NVIDIA driver: check the rights on /dev/nvidia*",
    NOT_FOUND: "not found",
    INSUFFICIENT_SIZE: "the list grew while it was read",
    8: "the GPU's power cables are not attached properly",
    DRIVER_NOT_LOADED: "NVIDIA driver not loaded: load its kernel module (modprobe nvidia)",
    TIMEOUT: "the driver gave up waiting for the GPU",
    11: "the GPU's interrupts do not arrive",
    LIBRARY_NOT_FOUND: "no NVIDIA driver here: libnvidia-ml.so.1 not found",
    FUNCTION_NOT_FOUND: "this driver is too old to be asked that",
    14: "the GPU's inforom is corrupted",
    GPU_IS_LOST: "fell off the bus (GPU is lost): reset or reboot needed",
    RESET_REQUIRED: "needs a reset before it can be used (nvidia-smi --gpu-reset) or a reboot",
    17: "the operating system refused the driver's request",
    LIB_RM_VERSION_MISMATCH: "driver was upgraded: reboot needed (its library does not match "
    "the loaded kernel module)",
    19: "in use by another program",
    20: "the host is out of memory",
    GPU_NOT_FOUND: "no longer there (GPU not found): fell off the bus or was taken out",
    UNKNOWN: "the driver says: unknown error",
}


class NvmlError(Exception):
    """NVML answered `function` with the error `code`; `str` gives the meaning in words."""

    def __init__(self, code: int, function: str) -> None:
        super().__init__(code, function)
        self.code = code
        self.function = function

    def __str__(self) -> str:
        return words(self.code)


def words(code: int) -> str:
    """What an error code means, with what to do where something can be done."""
    return _WORDS.get(code, f"the driver says: error {code}")
