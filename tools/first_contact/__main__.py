"""Measures on a machine with an NVIDIA card what GPU Monitor assumes about driver and GPU.

Takes 150 seconds at most and needs no network. Exit code: 0 if every check passed, 1 if one did
not, 3 if something could not be checked, such as without a driver, a GPU or nvidia-smi.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from .children import StageResult, run_child, unchecked_result
from .options import Options
from .report import exit_code, make_report, table
from .stages import STAGES, TOTAL_SECONDS

START_SECONDS = 3.0
"""A stage that has less time than this left is not begun."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tools.first_contact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="stages:\n" + "\n".join(f"  {n:20} {s.words}" for n, s in STAGES.items()),
    )
    add = made.add_argument
    add("--json", type=Path, default=Path("first_contact.json"), help="default: %(default)s")
    add("--stage", action="append", choices=STAGES, help="only facts and this one; may be repeated")
    add("--gpu", type=int, default=0, help="NVML index of the GPU to measure (default: 0)")
    add("--calls", type=int, default=200, help="how often to make each call (default: 200)")
    add("--pace", type=float, default=1.0, help="scales measuring periods; for rehearsals")
    add("--provoke-xid", action="store_true", help="make the GPU report Xids 31 and 13")
    return made


def run_stages(names: list[str], options: Options) -> list[StageResult]:
    """One after the other; what no longer fits into the time is not run."""
    deadline = time.monotonic() + TOTAL_SECONDS
    results = []
    for name in names:
        left = deadline - time.monotonic()
        if left < START_SECONDS:
            results.append(unchecked_result(name, "no time left"))
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        results.append(run_child(name, options, min(STAGES[name].limit(options.pace), left)))
    return results


def main() -> int:
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = Options(arguments.gpu, arguments.calls, arguments.pace, arguments.provoke_xid)
    begun = time.monotonic()
    chosen = {"facts", *(arguments.stage or STAGES)}
    results = run_stages([name for name in STAGES if name in chosen], options)
    report = make_report(results, options, time.monotonic() - begun)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(*table(report), f"written to {arguments.json}", sep="\n")
    return exit_code(report)


if __name__ == "__main__":
    sys.exit(main())
