"""What exposing a fleet to Prometheus costs the web server, compared with joining the same lines.

    python bench/metrics.py [--hosts 1250] [--gpus 8] [--rounds 15]

One process renders a simulated fleet as metrics and compresses them. The floor joins the same lines
from existing names and values. CPU is that of this process in its best round; rounds of both
alternate. Prints measurements, asserts nothing.
"""

import argparse
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gpu_monitor.broker.gpu_use import UseLimits, use_of  # noqa: E402 - the repository need not be installed
from gpu_monitor.broker.host_count import count  # noqa: E402
from gpu_monitor.broker.seats import seats  # noqa: E402
from gpu_monitor.broker.totals import Totals  # noqa: E402
from gpu_monitor.demo.host import SimulatedHost  # noqa: E402
from gpu_monitor.web.api.exposition import render  # noqa: E402
from gpu_monitor.web.api.metrics import fleet_metrics  # noqa: E402
from gpu_monitor.web.stream.encodings import encode_document  # noqa: E402

LIMITS = UseLimits(free_memory_mib=500, held_idle_after=1800.0)
NOW = 1_763_910_000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1250)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    document = make_document(options.hosts, options.gpus)
    text = render(fleet_metrics(document), openmetrics=False)
    lines = [tuple(line.rsplit(" ", 1)) for line in text.decode().splitlines()]
    works: dict[str, Callable[[], bytes]] = {
        "metrics": lambda: render(fleet_metrics(document), openmetrics=False),
        "floor": lambda: "\n".join([f"{name} {value}" for name, value in lines]).encode(),
        "gzip": lambda: zlib.compress(text),
        "json": lambda: encode_document(document),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(options.rounds):
        for name, work in works.items():
            best[name] = min(best[name], cpu_ms(work))
    print(f"{options.hosts} hosts x {options.gpus} GPUs: {len(lines)} lines")
    print(f"{len(text) / 1e6:.1f} MB, compressed {len(zlib.compress(text)) / 1e6:.1f} MB")
    ratio = best["metrics"] / best["floor"]
    print(f"rendered in {best['metrics']:.0f} ms, floor {best['floor']:.0f} ms, ratio {ratio:.1f}")
    print(f"compressed in {best['gzip']:.0f} ms; the document as JSON takes {best['json']:.0f} ms")


def cpu_ms(work: Callable[[], bytes]) -> float:
    """CPU of this process, in milliseconds."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def make_document(hosts: int, gpus: int) -> dict[str, Any]:
    """A fleet of live hosts."""
    totals, shown, names = Totals(), {}, set[str]()
    for number in range(hosts):
        host = SimulatedHost(number, gpus, NOW)
        host.step(NOW)
        snapshot: Any = host.snapshot(NOW, NOW, 1.0)
        seated = seats(snapshot["gpus"], snapshot["processes"])
        use = use_of(snapshot["gpus"], snapshot["processes"], seated, NOW, LIMITS).use
        counted = count(snapshot["gpus"], snapshot["processes"], use, seated)
        totals.replace(host.name, None, counted)
        names |= seated.users.keys()
        shown[host.name] = {
            "state": "live",
            "clock_offset_seconds": 0.01,
            "system": snapshot["system"],
            "processes": snapshot["processes"],
            "disks": snapshot["disks"],
            "findings": snapshot["findings"],
            "collector": snapshot["collector"],
            "gpus": {**snapshot["gpus"], "use": use},
        }
    return {
        "broker": {"state": "live", "version": "0", "started_at": NOW, "refused": {}},
        "web": {"version": "0"},
        "totals": totals.document({"live": hosts}),
        "users": {name: totals.user(name) for name in names},
        "hosts": shown,
    }


if __name__ == "__main__":
    main()
