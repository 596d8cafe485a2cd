"""A load of known size on one GPU: python -m tools.first_contact.load_process BUS_ID KIND MIB.

Prints a line of JSON when the memory is in use, then one with the rounds done about every second.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from .cuda import MIB, Cuda

ROUND_SECONDS = 0.02
DUTY = 0.3
"""The share of the time in which the load `part` runs."""
MATRIX = 8192
KERNELS = {
    "matmul": "burn",
    "heavy": "burn",
    "part": "burn",
    "idle": "burn",
    "spin": "spin",
    "wild": "wild",
    "misaligned": "misaligned",
}
"""By kind of load; `idle` launches none, and `matmul` needs none with torch or cupy."""


def torch_rounds(mib: int) -> Callable[[], None]:
    """One multiplication of matrices that fill tensor cores, on torch's first GPU."""
    torch: Any = importlib.import_module("torch")
    memory = torch.zeros(mib * MIB, dtype=torch.uint8, device="cuda")
    left = torch.randn(MATRIX, MATRIX, dtype=torch.float16, device="cuda")

    def multiply() -> None:
        torch.mm(left, left)
        torch.cuda.synchronize()
        assert memory.numel()

    multiply()
    return multiply


def cupy_rounds(mib: int) -> Callable[[], None]:
    """The same with cupy."""
    cupy: Any = importlib.import_module("cupy")
    memory = cupy.zeros(mib * MIB, dtype=cupy.uint8)
    left = cupy.random.random((MATRIX, MATRIX), dtype=cupy.float32).astype(cupy.float16)

    def multiply() -> None:
        cupy.matmul(left, left)
        cupy.cuda.Device().synchronize()
        assert memory.size

    multiply()
    return multiply


def cuda_rounds(bus_id: str, kind: str, mib: int) -> Callable[[], None]:
    """Kernels of our own."""
    cuda = Cuda(bus_id)
    memory = cuda.allocate(mib)
    return lambda: cuda.launch(KERNELS[kind], ROUND_SECONDS, memory)


def make_rounds(bus_id: str, kind: str, mib: int) -> tuple[str, Callable[[], None]]:
    """By torch or cupy for `matmul` where one can be imported, else by CUDA alone."""
    if kind == "matmul":
        for engine, make in (("torch", torch_rounds), ("cupy", cupy_rounds)):
            try:
                return engine, make(mib)
            except Exception as error:  # missing, or built for another GPU or driver
                print(f"{engine}: {error}", file=sys.stderr)
    return "cuda", cuda_rounds(bus_id, kind, mib)


def publish(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    bus_id, kind, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])
    engine, run_round = make_rounds(bus_id, kind, mib)
    publish(engine=engine, kind=kind, allocated_mib=mib)
    if kind == "idle":
        sys.stdin.read()
        return
    rounds, published_at = 0, time.monotonic()
    while True:
        begun = time.monotonic()
        run_round()
        rounds += 1
        ended = time.monotonic()
        if kind == "part":
            time.sleep((ended - begun) * (1 - DUTY) / DUTY)
        if ended - published_at >= 0.5:
            publish(rounds=rounds, at=ended)
            published_at = ended


if __name__ == "__main__":
    main()
