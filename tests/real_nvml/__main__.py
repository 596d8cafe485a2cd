"""Fetch NVIDIA's files for the tests; what cannot be had is skipped, and the tests say why."""

import sys

from .cache import WANTED, missing, store
from .sources import Unavailable, fetch


def main() -> int:
    for name in missing(WANTED):
        print(f"setup: fetching {name} for the tests into build/, without installing it")
        try:
            store(name, fetch(WANTED[name]))
        except Unavailable as error:
            store(name, str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
