"""Print the variables that make a shell use the fake NVML: eval "$(python -m tests.fake_nvml)"."""

import argparse
import shlex
import sys
from pathlib import Path

from .library import BuildError, library_folder, variables

LAB = Path(__file__).parent / "lab.scenario"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_nvml", description=__doc__)
    parser.add_argument("scenario", nargs="?", type=Path, default=LAB, help="default: %(default)s")
    scenario: Path = parser.parse_args().scenario
    if not scenario.is_file():
        print(f"no such scenario: {scenario}", file=sys.stderr)
        return 2
    try:
        folder = library_folder()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in variables(folder, scenario.resolve()).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
