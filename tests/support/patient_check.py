"""`gpu-monitor check` for a busy machine: it waits 30 s for every answer instead of 2.

    python -m tests.support.patient_check PATH [--part PART] [--elsewhere]

With `--elsewhere` it treats the broker as another machine's.
"""

import argparse
import sys
from collections.abc import Iterable

from gpu_monitor.commands import probe
from gpu_monitor.commands.check import check
from gpu_monitor.config.file import load_config


def no_address_is_own(addresses: Iterable[str]) -> bool:
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--part", default="all")
    parser.add_argument("--elsewhere", action="store_true")
    asked = parser.parse_args()
    is_own = no_address_is_own if asked.elsewhere else probe.is_own
    sys.exit(not check(load_config(asked.path), asked.path, asked.part, 30.0, is_own))
