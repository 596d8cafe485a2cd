"""How much of the processor and of the host's memory processes use."""

import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.host.process_load import (
    NO_LOAD,
    PROCESS_LOAD_SECONDS,
    ProcessLoad,
    ProcessLoads,
)

PID = 4000


def write_stat(
    proc: Path, user: int = 0, system: int = 0, start: int = 77, pages: int = 256, pid: int = PID
) -> None:
    """/proc/PID/stat of a process with a name that is hard to read."""
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    zeros = " ".join(["0"] * 10)
    rest = f"{user} {system} 0 0 20 0 8 0 {start} 123456789 {pages} 18446744073709551615 1 1"
    (folder / "stat").write_text(f"{pid} (a ) S 1 (b) S {zeros} {rest}\n")


def test_processor_time_is_of_one_core_and_memory_is_resident(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    write_stat(tmp_path, user=1000, system=500)
    first = loads.sample(PID, 0.0)
    write_stat(tmp_path, user=1000 + 2500, system=500 + 560, pages=1024)

    assert first == ProcessLoad(None, 256 * mmap.PAGESIZE)
    assert loads.sample(PID, PROCESS_LOAD_SECONDS) == ProcessLoad(612, 1024 * mmap.PAGESIZE)


def test_between_two_readings_the_last_one_counts(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    write_stat(tmp_path)
    loads.sample(PID, 0.0)
    write_stat(tmp_path, user=250)
    known = loads.sample(PID, PROCESS_LOAD_SECONDS)
    write_stat(tmp_path, user=9999)

    assert known.cpu_percent == 50
    assert loads.sample(PID, 2 * PROCESS_LOAD_SECONDS - 1) == known


def test_processes_are_read_in_turns(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    known: dict[int, list[int]] = {}
    for second in range(12):
        for pid in range(PID, PID + 4):
            write_stat(tmp_path, user=second * 100, pid=pid)
            before = known.setdefault(pid, [])
            if loads.sample(pid, float(second)).cpu_percent == 100 and not before:
                before.append(second)

    assert sorted(seconds[0] for seconds in known.values()) == [2, 3, 4, 5]


def test_another_process_with_the_same_pid_starts_afresh(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    write_stat(tmp_path, user=100)
    loads.sample(PID, 0.0)
    write_stat(tmp_path, user=200, start=99)

    assert loads.sample(PID, PROCESS_LOAD_SECONDS).cpu_percent is None


def test_a_counter_that_goes_back_is_null(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    write_stat(tmp_path, user=100)
    loads.sample(PID, 0.0)
    write_stat(tmp_path, user=50)

    assert loads.sample(PID, PROCESS_LOAD_SECONDS) == ProcessLoad(None, 256 * mmap.PAGESIZE)


def test_a_process_without_memory_of_its_own_has_none(tmp_path: Path) -> None:
    write_stat(tmp_path, pages=0)

    assert ProcessLoads(str(tmp_path)).sample(PID, 0.0) == NO_LOAD


@pytest.mark.parametrize("text", ["", "4000 (a) S 1 2", "4000 a S", "4000 (a) S" + " x" * 30])
def test_a_file_that_makes_no_sense_is_null(tmp_path: Path, text: str) -> None:
    (tmp_path / str(PID)).mkdir()
    (tmp_path / str(PID) / "stat").write_text(text)

    assert ProcessLoads(str(tmp_path)).sample(PID, 0.0) == NO_LOAD


def test_a_process_that_is_gone_is_null_and_forgotten(tmp_path: Path) -> None:
    loads = ProcessLoads(str(tmp_path))
    write_stat(tmp_path)
    loads.sample(PID, 0.0)
    (tmp_path / str(PID) / "stat").unlink()
    gone = loads.sample(PID, PROCESS_LOAD_SECONDS)
    write_stat(tmp_path, user=500)

    assert gone == NO_LOAD
    assert loads.sample(PID, 2 * PROCESS_LOAD_SECONDS).cpu_percent is None


@given(st.binary(max_size=200))
def test_whatever_the_file_holds_is_null_or_a_load(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("proc")
    (folder / str(PID)).mkdir()
    (folder / str(PID) / "stat").write_bytes(data)

    assert isinstance(ProcessLoads(str(folder)).sample(PID, 0.0), ProcessLoad)


def test_our_own_process_has_a_load() -> None:
    memory = ProcessLoads().sample(os.getpid(), 0.0).memory_bytes

    assert memory is not None and 1 << 20 < memory < 1 << 34
