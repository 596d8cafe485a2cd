"""CUDA's driver API through ctypes: it comes with the driver, so a load needs no other package."""

import ctypes
from typing import Any

LIBRARY = "libcuda.so.1"
KERNELS = (
    b"""
.version 6.0
.target sm_60
.address_size 64

.visible .entry spin(.param .u64 cycles, .param .u64 memory)
{
    .reg .u64 %begun, %now, %passed, %cycles;
    .reg .pred %again;
    ld.param.u64 %cycles, [cycles];
    mov.u64 %begun, %clock64;
$spinning:
    mov.u64 %now, %clock64;
    sub.u64 %passed, %now, %begun;
    setp.lt.u64 %again, %passed, %cycles;
    @%again bra $spinning;
    ret;
}

.visible .entry burn(.param .u64 cycles, .param .u64 memory)
{
    .reg .u64 %begun, %now, %passed, %cycles, %memory;
    .reg .f32 %a, %b, %c, %d, %scale, %step;
    .reg .pred %again;
    ld.param.u64 %cycles, [cycles];
    ld.param.u64 %memory, [memory];
    mov.f32 %a, 0f3F800000;
    mov.f32 %b, 0f40000000;
    mov.f32 %c, 0f40400000;
    mov.f32 %d, 0f40800000;
    mov.f32 %scale, 0f3F7FFFFF;
    mov.f32 %step, 0f3DCCCCCD;
    mov.u64 %begun, %clock64;
$burning:
"""
    + b"""    fma.rn.f32 %a, %a, %scale, %step;
    fma.rn.f32 %b, %b, %scale, %step;
    fma.rn.f32 %c, %c, %scale, %step;
    fma.rn.f32 %d, %d, %scale, %step;
"""
    * 64
    + b"""
    mov.u64 %now, %clock64;
    sub.u64 %passed, %now, %begun;
    setp.lt.u64 %again, %passed, %cycles;
    @%again bra $burning;
    add.f32 %a, %a, %b;
    add.f32 %c, %c, %d;
    add.f32 %a, %a, %c;
    st.global.f32 [%memory], %a;
    ret;
}

.visible .entry wild(.param .u64 cycles, .param .u64 memory)
{
    .reg .u64 %address;
    mov.u64 %address, 0x7000000000;
    st.global.u64 [%address], %address;
    ret;
}

.visible .entry misaligned(.param .u64 cycles, .param .u64 memory)
{
    .reg .u64 %address;
    ld.param.u64 %address, [memory];
    add.u64 %address, %address, 1;
    st.global.u64 [%address], %address;
    ret;
}
"""
)
"""spin: one thread does nothing; burn: arithmetic; wild: a store to nowhere (Xid 31); misaligned: a
store across a word (Xid 13). Each takes the clock cycles to run for, and memory to write to."""
CYCLES_PER_SECOND = 1.5e9
"""About: how long a launch takes only has to be short."""
MIB = 1 << 20
CHUNK_MIB = 1024
BLOCKS, THREADS = 4096, 256
"""Fills the largest GPU."""


class CudaError(Exception):
    """A CUDA function failed; `str` says which, and why."""


class Cuda:
    """A context on one GPU, found by its place on the PCI bus (`0000:3B:00.0`)."""

    def __init__(self, bus_id: str) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaError(str(error)) from None
        device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGetByPCIBusId", ctypes.byref(device), bus_id.encode())
        self._call("cuCtxCreate_v2", ctypes.byref(context), ctypes.c_uint(0), device)
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(KERNELS))
        self._module = module

    def allocate(self, mib: int) -> int:
        """Reserve this much of the GPU's memory and write all of it; the address of the first."""
        first = 0
        for left in range(mib, 0, -CHUNK_MIB):
            address, size = ctypes.c_ulonglong(), ctypes.c_size_t(min(left, CHUNK_MIB) * MIB)
            self._call("cuMemAlloc_v2", ctypes.byref(address), size)
            self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), size)
            first = first or address.value
        self._call("cuCtxSynchronize")
        return first

    def launch(self, kernel: str, seconds: float, memory: int) -> None:
        """Run a kernel for about this long, and wait for its end; CudaError if it fails."""
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, kernel.encode())
        cycles = ctypes.c_ulonglong(int(seconds * CYCLES_PER_SECOND))
        address = ctypes.c_ulonglong(memory)
        arguments = (ctypes.c_void_p * 2)(
            *(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in (cycles, address))
        )
        shape = (BLOCKS, THREADS) if kernel == "burn" else (1, 1)
        sizes = [ctypes.c_uint(size) for size in (shape[0], 1, 1, shape[1], 1, 1, 0)]
        self._call("cuLaunchKernel", function, *sizes, None, arguments, None)
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'').decode()} ({code})")
