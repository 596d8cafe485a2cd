"""`gpu-monitor config`: the settings in effect, and a sample config.yml."""

import json
from collections.abc import Iterator
from pathlib import Path

from gpu_monitor.config import keys
from gpu_monitor.config.keys import KEYS, Config

SAMPLE = Path(keys.__file__).with_name("sample.yml")
"""The project's config.yml: every key with its default, and a comment."""


def print_sample() -> None:
    """Prints config.yml as it is shipped."""
    print(SAMPLE.read_text(encoding="utf-8"), end="")


def print_effective(config: Config, path: str | None) -> None:
    """Prints all settings as YAML, below the path of the file that they come from."""
    for line in effective_lines(config, path):
        print(line)


def effective_lines(config: Config, path: str | None) -> Iterator[str]:
    """A config.yml that has the same effect as the one in `path` (None: no file)."""
    yield f"# {path}: valid" if path else "# no config.yml found; every setting is its default"
    for key, value in config._asdict().items():
        if value == KEYS[key].default:
            yield f"{key}: {_yaml(value)}  # default"
        elif isinstance(value, tuple) and value:
            yield f"{key}:"
            yield from (f"  - {_yaml(entry)}" for entry in value)
        else:
            yield f"{key}: {_yaml(value)}"


def _yaml(value: object) -> str:
    """The value as config.yml accepts it, which knows no exponents and no `2.0`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
