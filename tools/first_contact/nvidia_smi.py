"""What nvidia-smi says of GPUs, slices and processes."""

import csv
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from .record import Recorder, Unchecked

SMI_SECONDS = 15
LOST_CODE = 15
"""Its exit code when a GPU has fallen off the bus."""
LISTS = ("-q", "-L")

Row: TypeAlias = dict[str, str | None]
"""Texts by column; None for [N/A] and its kin."""


class Details(NamedTuple):
    """What `-q` says of one GPU: its values by their name, then its processes'."""

    values: dict[str, str]
    processes: list[dict[str, str]]


class Slice(NamedTuple):
    """A line of `-L`: the index of its GPU, its own, profile and UUID."""

    gpu: int
    number: int
    profile: str
    uuid: str


_GPU_LINE = re.compile(r"GPU (\d+): ")
_SLICE_LINE = re.compile(r" +MIG (\S+) +Device +(\d+): \(UUID: (\S+)\)")


def ask(record: Recorder, *arguments: str) -> str:
    """What it prints, for `-q` and `-L` also if a GPU is lost; Unchecked if it fails."""
    if shutil.which("nvidia-smi") is None:
        raise Unchecked("nvidia-smi is not in PATH")
    record.begin(f"nvidia-smi {arguments[0]}")
    done = subprocess.run(
        ["nvidia-smi", *arguments],
        capture_output=True,
        text=True,
        timeout=SMI_SECONDS,
        check=False,
    )
    if done.returncode and (done.returncode != LOST_CODE or arguments[0] not in LISTS):
        words = (done.stdout + done.stderr).strip()[-200:]
        raise Unchecked(f"nvidia-smi ended with code {done.returncode}: {words}")
    return done.stdout


def query(record: Recorder, kind: str, names: Sequence[str]) -> str:
    """The answer to `--query-gpu` or `--query-compute-apps`."""
    return ask(record, f"--query-{kind}={','.join(names)}", "--format=csv,noheader,nounits")


def parse_rows(output: str, columns: Sequence[str]) -> list[Row]:
    """Rows of an answer without header and units."""
    rows = csv.reader(output.splitlines(), skipinitialspace=True)
    return [
        {c: None if v.startswith("[") else v for c, v in zip(columns, row, strict=True)}
        for row in rows
        if row
    ]


def parse_details(output: str) -> dict[str, Details]:
    """The answer to `-q`, by bus id."""
    found: dict[str, Details] = {}
    current = Details({}, [])  # what stands before the first GPU
    for line in output.splitlines():
        if line.startswith("GPU "):
            current = found[line.removeprefix("GPU ").strip()] = Details({}, [])
        name, separator, value = (part.strip() for part in line.partition(" : "))
        if name == "Process ID":
            current.processes.append({})
        if separator:
            (current.processes or [current.values])[-1][name] = value
    return found


def parse_slices(output: str) -> list[Slice]:
    """The slices in the answer to `-L`."""
    found, gpu = [], -1
    for line in output.splitlines():
        if match := _GPU_LINE.match(line):
            gpu = int(match[1])
        elif match := _SLICE_LINE.match(line):
            found.append(Slice(gpu, int(match[2]), match[1], match[3]))
    return found
