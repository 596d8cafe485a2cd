"""What a sample costs the collector: 8 GPUs and 32 processes on the fake NVML, once per second.

    python bench/collector.py [--samples 60] [--interval 1]

The collector runs in its own process, as the command runs it, and pushes to this one. CPU is the
user and system time of all its threads: from the start of the interpreter to the first push, and
per sample after that. The floor is measured in another process at the same pace: 7 raw NVML
calls per GPU through ctypes, and one read of /proc/PID/stat per process. Memory is compared with
that of a Python without any imports. Prints measurements, asserts nothing.
"""

import ctypes
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
if TYPE_CHECKING:
    from pathlib import Path
# Other imports are local: whatever the measured process imports counts as the collector's.

GPUS = 8
PROCESSES = 32
CALLS = 7
WARM_UP = 5
BARE = (
    "import os; print(int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGESIZE'))"
)


def main() -> None:
    if sys.argv[1:2] == ["floor"]:
        floor(sys.argv[2].split(","), float(sys.argv[3]), int(sys.argv[4]))
    else:
        import argparse

        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--samples", type=int, default=60)
        parser.add_argument("--interval", type=float, default=1.0)
        options, _ = parser.parse_known_args()
        measure(options.samples, options.interval)


def measure(samples: int, interval: float) -> None:
    import subprocess
    import tempfile
    from pathlib import Path

    from tests.fake_nvml.library import library_folder, variables

    with tempfile.TemporaryDirectory() as folder:
        sleepers = [
            subprocess.Popen([f"python train_{n}.py", "3600"], executable="/bin/sleep")
            for n in range(PROCESSES)
        ]
        try:
            scenario = Path(folder) / "machine"
            pids = [sleeper.pid for sleeper in sleepers]
            machine(scenario, pids)
            environment = with_bytecode(folder) | variables(library_folder(), scenario)
            figures = run_collector(environment, samples, interval)
            command = [sys.executable, __file__, "floor", ",".join(map(str, pids))]
            command += [str(interval), str(samples)]
            floor_ms = float(subprocess.check_output(command, env=environment, text=True))
            command = [sys.executable, "-c", BARE]
            bare_mb = float(subprocess.check_output(command, env=environment, text=True)) / 1e6
        finally:
            for sleeper in sleepers:
                sleeper.kill()
                sleeper.wait()
    show(figures, floor_ms, bare_mb, samples, interval)


def with_bytecode(folder: str) -> dict[str, str]:
    """An environment in which Python finds all modules compiled, as pip installs them.

    Compiling them at every start would retain over 1 MB.
    """
    import subprocess

    variables = dict(os.environ, PYTHONPYCACHEPREFIX=os.path.join(folder, "bytecode"))
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    load = "import bench.collector, gpu_monitor.collector.main, gpu_monitor.__main__"
    subprocess.run([sys.executable, "-c", load], env=variables, cwd=ROOT, check=True)
    return variables


def machine(path: "Path", pids: list[int]) -> None:
    from tests.fake_nvml.scenario import Gpu, Process, Scenario, wave

    share = PROCESSES // GPUS
    gpus = [
        Gpu(
            utilization_percent=wave(60, 99, 7),
            temperature_celsius=wave(50, 70, 9),
            power_watts=wave(300, 690, 5),
            processes=[
                Process(pid, memory_mib=9000 + pid % 7, sm_utilization_percent=wave(5, 20, 3))
                for pid in pids[number * share : (number + 1) * share]
            ],
        )
        for number in range(GPUS)
    ]
    Scenario(gpus=gpus).write(path)


def run_collector(environment: dict[str, str], samples: int, interval: float) -> dict[str, float]:
    import subprocess

    import zmq

    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    measured = (
        f"from bench.collector import collector; collector('tcp://127.0.0.1:{port}', {interval})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", measured],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def ask() -> list[float]:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write("\n")
        return [float(word) for word in child.stdout.readline().split()]

    pull.recv()
    first, _, _ = ask()
    for _ in range(WARM_UP):
        pull.recv()
    cpu_before, calls_before, _ = ask()
    sizes = [len(pull.recv()) for _ in range(samples)]
    cpu, calls, resident = ask()
    child.communicate("stop\n")
    context.destroy(0)
    return {
        "first_push_ms": 1000 * first,
        "sample_ms": 1000 * (cpu - cpu_before) / samples,
        "calls": (calls - calls_before) / samples / GPUS,
        "resident_mb": resident / 1e6,
        "snapshot_bytes": sum(sizes) / samples,
    }


def collector(endpoint: str, interval: float) -> None:
    """The measured process: it answers each line on stdin with CPU seconds, calls and memory."""
    import gpu_monitor.__main__  # noqa: F401 - the command's own imports count too
    from gpu_monitor.collector.main import run
    from gpu_monitor.config.file import parse_config
    from gpu_monitor.config.role_settings import collector_settings

    stop = threading.Event()
    text = f"name: gpu-node-1\ninterval: {interval}\nrpc_timeout: {max(2, 2 * interval)}"
    settings = collector_settings(parse_config(text, "config.yml"), endpoint)
    loop = threading.Thread(target=run, args=(settings, stop))
    loop.start()
    counted = ctypes.CDLL("libnvidia-ml.so.1").fakeNvmlCalls
    counted.restype = ctypes.c_ulonglong
    for line in sys.stdin:
        if line.startswith("stop"):
            break
        cpu = time.process_time()
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        print(cpu, counted(None), pages * os.sysconf("SC_PAGESIZE"), flush=True)
    stop.set()
    loop.join()


def floor(pids: list[str], interval: float, samples: int) -> None:
    """Print the CPU milliseconds of the bare calls and reads, at the same pace."""
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.nvmlInit_v2()
    handles = [ctypes.c_void_p() for _ in range(GPUS)]
    for index, handle in enumerate(handles):
        library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    answer = ctypes.c_uint()
    reference = ctypes.byref(answer)
    used = 0.0
    for _ in range(samples):
        before = time.process_time()
        for handle in handles:
            for _ in range(CALLS):
                library.nvmlDeviceGetPowerUsage(handle, reference)
        for pid in pids:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                file.read(4096)
        used += time.process_time() - before
        time.sleep(interval)
    print(1000 * used / samples)


def show(
    figures: dict[str, float], floor_ms: float, bare_mb: float, samples: int, interval: float
) -> None:
    sample, resident = figures["sample_ms"], figures["resident_mb"]
    print(
        f"collector: {GPUS} GPUs, {PROCESSES} processes, {samples} samples, one every {interval} s"
    )
    print(f"  CPU per sample      {sample:7.2f} ms     goal 2.0")
    print(f"  floor               {floor_ms:7.2f} ms     {sample / floor_ms:.1f} x that")
    print(f"  CPU to first push   {figures['first_push_ms']:7.0f} ms     goal 150")
    print(f"  NVML calls per GPU  {figures['calls']:7.1f}        goal 7")
    print(f"  resident memory     {resident:7.1f} MB     goal 26")
    print(f"  Python alone        {bare_mb:7.1f} MB     {resident / bare_mb:.1f} times less")
    print(f"  snapshot            {figures['snapshot_bytes']:7.0f} bytes  goal 4000")


if __name__ == "__main__":
    main()
