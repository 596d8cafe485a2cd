"""The probe: a child that opens one GPU, ends in time, and never outlives its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpu_monitor.collector.gpu import probe_program
from gpu_monitor.collector.gpu.gpu_probe import PROBE_GRACE_SECONDS, PROBE_LIMIT_SECONDS, GpuProbe
from tests.fake_nvml import Call, FakeNvml, Gpu, Mig, Scenario, error
from tests.support.house import ROOT, eventually

PLACE = "00000000:11:00.0"
"""Of the second GPU."""
OTHER = "00000000:10:00.0"
READINGS = ("UtilizationRates", "Temperature", "MemoryInfo", "PowerUsage")
HANG = Scenario([Gpu(), Gpu()], calls=[Call("nvmlInit*", hang=True)])

pytestmark = pytest.mark.processes


@pytest.fixture
def probe(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuProbe]:
    for name, value in fake_nvml.environment().items():
        monkeypatch.setenv(name, value)
    probe = GpuProbe()
    yield probe
    probe.close()
    eventually(lambda: not probe.is_running(), "the probe's end")


def result(probe: GpuProbe, target: str = PLACE, taken: tuple[str, ...] = (OTHER,)) -> bool | None:
    probe.launch(target, taken, 0.0)
    eventually(lambda: not probe.is_running(), "the probe's end")
    return probe.result()


def child_of(pid: int) -> psutil.Process | None:
    """The running child of a process that is a probe."""
    for child in psutil.Process(pid).children():
        if child.status() != psutil.STATUS_ZOMBIE and probe_program.__file__ in child.cmdline():
            return child
    return None


def hanging_child(fake_nvml: FakeNvml, probe: GpuProbe) -> psutil.Process:
    fake_nvml.write(HANG)
    probe.launch(PLACE, (), 0.0)
    return eventually(lambda: child_of(os.getpid()), "a child")


@pytest.mark.parametrize("target", [PLACE, "1"])
@pytest.mark.parametrize(
    ("gpu", "answers"),
    [
        (Gpu(), True),
        (Gpu(power_watts=error("UNKNOWN"), utilization_percent="N/A"), True),
        (Gpu(migs=[Mig()]), True),
        (Gpu(lost=True), False),
        (Gpu(lost=True, migs=[Mig()]), False),
        (Gpu(temperature_celsius=error("GPU_IS_LOST")), False),
        (Gpu(temperature_celsius=error("RESET_REQUIRED")), False),
    ],
)
def test_a_gpu_answers_if_it_can_be_opened_and_read(
    fake_nvml: FakeNvml, probe: GpuProbe, target: str, gpu: Gpu, answers: bool
) -> None:
    fake_nvml.write(Scenario([Gpu(), gpu]))

    assert result(probe, target) is answers
    assert probe.problem is None


@pytest.mark.parametrize(
    "calls",
    [
        [Call("nvmlDeviceGetHandle*", error="UNKNOWN", gpu=1)],
        [Call(f"nvmlDeviceGet{name}*", error="UNKNOWN", gpu=1) for name in READINGS],
        [Call("nvmlInit*", error="UNKNOWN")],
    ],
)
def test_a_gpu_that_reports_nothing_but_errors_does_not_answer(
    fake_nvml: FakeNvml, probe: GpuProbe, calls: list[Call]
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()], calls=calls))

    assert result(probe) is False


def test_a_gpu_that_is_not_listed_does_not_answer(fake_nvml: FakeNvml, probe: GpuProbe) -> None:
    fake_nvml.write(Scenario([Gpu()]))

    assert result(probe) is False
    assert result(probe, "1") is False


def test_another_gpu_at_the_same_index_is_not_the_one_that_was_lost(
    fake_nvml: FakeNvml, probe: GpuProbe
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))

    assert result(probe, "1", taken=(PLACE,)) is False


def test_a_child_that_hangs_ends_at_its_limit(fake_nvml: FakeNvml, probe: GpuProbe) -> None:
    fake_nvml.write(HANG)
    short = GpuProbe(limit_seconds=1)

    assert result(short) is False
    assert short.problem is None


def test_a_child_that_outlives_its_limit_is_killed(fake_nvml: FakeNvml, probe: GpuProbe) -> None:
    child = hanging_child(fake_nvml, probe)
    overdue = 30 + PROBE_GRACE_SECONDS

    probe.end_overdue(overdue - 1)
    before = probe.is_running()
    probe.end_overdue(overdue)

    assert before
    eventually(lambda: not probe.is_running(), "the probe's end")
    assert probe.result() is False and not child.is_running()


def test_a_child_that_is_stopped_counts_as_running_until_it_is_gone(
    fake_nvml: FakeNvml, probe: GpuProbe
) -> None:
    """As one in uninterruptible sleep does, which not even a kill ends."""
    child = hanging_child(fake_nvml, probe)
    child.suspend()

    assert probe.is_running() and probe.result() is None
    child.resume()


def test_closing_ends_the_child_and_starts_none_any_more(
    fake_nvml: FakeNvml, probe: GpuProbe
) -> None:
    child = hanging_child(fake_nvml, probe)

    probe.close()
    eventually(lambda: not probe.is_running(), "the probe's end")
    ended = not child.is_running()
    probe.launch(PLACE, (), 0.0)
    eventually(lambda: not probe.is_running(), "the probe's end")

    assert ended and probe.result() is None


def test_a_child_has_none_of_our_open_files(fake_nvml: FakeNvml, probe: GpuProbe) -> None:
    with open(os.devnull) as ours:
        os.set_inheritable(ours.fileno(), True)
        child = hanging_child(fake_nvml, probe)
        files = {os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in range(3)}

        assert child.num_fds() == 3 and files == {os.devnull}


def test_a_child_is_the_first_to_go_where_memory_runs_out(
    fake_nvml: FakeNvml, probe: GpuProbe
) -> None:
    child = hanging_child(fake_nvml, probe)
    score = Path(f"/proc/{child.pid}/oom_score_adj")

    eventually(lambda: score.read_text() == "1000\n", "the score")


def test_a_missing_interpreter_or_library_is_a_problem_until_a_probe_succeeds(
    fake_nvml: FakeNvml, probe: GpuProbe, tmp_path: Path
) -> None:
    fake_nvml.write(Scenario([Gpu(), Gpu()]))
    missing = GpuProbe(python="/nonexistent/python")

    assert result(missing) is None
    assert missing.problem is not None and "No such file" in missing.problem
    library = tmp_path / "libnvidia-ml.so.1"
    without = GpuProbe(libraries=[str(library)])
    assert result(without) is False
    assert without.problem is not None and "libnvidia-ml.so.1" in without.problem
    library.symlink_to(fake_nvml.folder / library.name)
    assert result(without) is True and without.problem is None


PARENT = """
import os
from gpu_monitor.collector.gpu.gpu_probe import PROBE_GRACE_SECONDS, PROBE_LIMIT_SECONDS, GpuProbe
probe = GpuProbe()
probe.launch("00000000:11:00.0", (), 0.0)
print("started", flush=True)
input()
"""


def test_a_child_ends_with_its_parent_however_that_ends(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(HANG)
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(
        command, cwd=ROOT, env=fake_nvml.environment(), stdin=-1, stdout=-1
    ) as parent:
        child = eventually(lambda: child_of(parent.pid), "a child")
        score = Path(f"/proc/{child.pid}/oom_score_adj")
        eventually(lambda: score.read_text() == "1000\n", "a child that is set up")
        parent.send_signal(signal.SIGKILL)

    eventually(lambda: not child.is_running(), "the child's end")


COLLECTOR = """
from gpu_monitor.collector.gpu import gpu_probe, lost_gpus
lost_gpus.LOST_PROBE_SECONDS = (0.0, 300.0)
launch = gpu_probe.GpuProbe.launch
def launch_later(*arguments):
    print("about to probe", flush=True)
    input()
    launch(*arguments)
gpu_probe.GpuProbe.launch = launch_later
from gpu_monitor.config.keys import Config
from gpu_monitor.run import roles
roles.collector(Config())
"""


def test_a_collector_ends_on_sigterm_while_its_probe_hangs(fake_nvml: FakeNvml) -> None:
    lost = [Gpu(), Gpu(lost=True)]
    fake_nvml.write(Scenario(lost))
    command = [sys.executable, "-c", COLLECTOR]
    with subprocess.Popen(
        command, cwd=ROOT, env=fake_nvml.environment(), stdin=-1, stdout=-1
    ) as collector:
        assert collector.stdin is not None and collector.stdout is not None
        assert collector.stdout.readline() == b"about to probe\n"
        fake_nvml.write(Scenario(lost, calls=[Call("nvmlDeviceGetHandle*", hang=True, gpu=1)]))
        collector.stdin.write(b"\n")
        collector.stdin.flush()
        child = eventually(lambda: child_of(collector.pid), "a child")
        collector.send_signal(signal.SIGTERM)
        assert collector.wait(PROBE_LIMIT_SECONDS / 2) == 0  # before the child ends by itself

    eventually(lambda: not child.is_running(), "the child's end")
