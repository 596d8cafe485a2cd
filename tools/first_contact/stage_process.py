"""Runs one stage in a process of its own: python -m tools.first_contact.stage_process."""

import importlib
import os
import sys
import traceback
from pathlib import Path

from .options import Options
from .record import Recorder, Skipped, Unchecked
from .stages import STAGES


def run_stage(name: str, record: Recorder, options: Options) -> None:
    """Record what the stage finds; whatever it raises is why something could not be checked."""
    try:
        module = importlib.import_module(f".{STAGES[name].module}", __package__)
        getattr(module, STAGES[name].function)(record, options)
    except Skipped as reason:
        record.skip(str(reason))
    except Unchecked as reason:
        record.unchecked(str(reason))
    except Exception as error:  # a stage that breaks costs that stage
        record.note("traceback", traceback.format_exc())
        record.unchecked(f"{type(error).__name__}: {error}")


def main() -> None:
    name, path, options = sys.argv[1:]
    with Path(path).open("a") as file:
        record = Recorder(file)
        run_stage(name, record, Options.unpacked(options))
        record.finish()
    sys.stdout.flush()
    os._exit(0)  # a thread may hang in the driver


if __name__ == "__main__":
    main()
