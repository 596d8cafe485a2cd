"""The command as an operator uses it: help, exit codes, signals and ports."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_monitor.arguments import CHECKED, COMMANDS
from gpu_monitor.wire import __version__
from tests.support.house import COMMAND, PATIENCE_SECONDS, ROOT, House, eventually, running

STARTED = re.compile("listens on|not reachable")

pytestmark = pytest.mark.processes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command_and_the_page() -> None:
    answer = call("--help")
    assert answer.returncode == 0
    assert re.findall(r"^    ([a-z]+) ", answer.stdout, re.MULTILINE) == list(COMMANDS)
    assert "http://127.0.0.1:8042/" in answer.stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_the_common_options(command: str) -> None:
    answer = call(*command.split(), "--help")
    assert answer.returncode == 0
    for option in ("--help", "--version", "--config", "--log-level"):
        assert option in answer.stdout
    version = call(*command.split(), "--version")
    assert version.stdout == f"gpu-monitor {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("walk",),
        ("--colour",),
        ("demo", "--hosts", "0"),
        ("demo", "--gpus", "many"),
        ("up", "--log-level", "loud"),
    ],
)
def test_invalid_arguments_exit_with_2(arguments: tuple[str, ...]) -> None:
    answer = call(*arguments)
    assert answer.returncode == 2
    assert "error: " in answer.stderr


NEEDS = {"viewers": ("list",)}
"""Required arguments, by command."""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_an_invalid_config_exits_with_2_and_only_its_error_lines(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text("web_prot: 8042\ntick: no\n")
    answer = call(*command.split(), *NEEDS.get(command, ()), cwd=tmp_path)
    assert answer.returncode == 2
    assert [line.split(": ")[0] for line in answer.stderr.splitlines()] == [
        "config.yml:1",
        "config.yml:2",
    ]


@pytest.mark.parametrize("command", ["collector", "web"])
def test_port_0_for_a_role_in_its_own_process_exits_with_2(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("rpc_port: 0\nupdates_port: 0\n")
    answer = call(command, cwd=tmp_path)
    assert answer.returncode == 2
    assert "0 (any free port) works only in one process" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_missing_config_exits_with_2() -> None:
    answer = call("--config", "/none/config.yml", "up")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("/none/config.yml: cannot be read")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["up", "collector", "broker", "web", "demo"])
def test_a_signal_stops_every_command_with_exit_code_0(
    command: str, by: signal.Signals, house: House
) -> None:
    house.start(command, "--log-level", "debug")
    eventually(lambda: STARTED.search(house.log(command)), "a start")
    assert house.stop(command, by) == 0
    assert "Traceback" not in house.log(command)


def test_a_signal_right_after_the_start_also_stops_with_exit_code_0(house: House) -> None:
    with running(*COMMAND, "up", "--config", str(house.config()), stderr=-1) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes(), "a process")
        eventually(lambda: catches(process.pid, signal.SIGTERM), "a handler")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal (SigCgt of /proc/PID/status)."""
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def test_sigint_also_stops_it_in_a_background_shell(house: House) -> None:
    line = f"{' '.join(COMMAND)} web --config {house.config()} & echo $!; wait $!; echo rc $?"
    with running("sh", "-c", line, stdout=-1, start_new_session=True) as shell:
        try:
            assert shell.stdout is not None
            pid = int(shell.stdout.readline())
            assert shell.stdout.readline() == f"GPU Monitor: {house.url}\n"
            os.kill(pid, signal.SIGINT)
            assert shell.stdout.readline() == "rc 0\n"
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("up", "web_port"),
        ("up", "rpc_port"),
        ("up", "updates_port"),
        ("broker", "rpc_port"),
        ("broker", "updates_port"),
        ("web", "web_port"),
        ("demo", "web_port"),
    ],
)
def test_a_port_in_use_exits_with_3_and_names_port_key_and_remedy(
    command: str, key: str, house: House
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = house.config(**{key: port})
        answer = call(command, "--config", str(config))
    assert answer.returncode == 3
    last = answer.stderr.splitlines()[-1]
    assert last.endswith(
        f"127.0.0.1:{port} is in use; stop what listens there, or write another {key}"
    )


@pytest.mark.parametrize("key", ["web_bind", "rpc_bind", "updates_bind"])
def test_an_address_of_another_machine_exits_with_3(key: str, house: House) -> None:
    config = house.config(**{key: "192.0.2.1"})
    answer = call("up", "--config", str(config))
    assert answer.returncode == 3
    assert f"write another {key}" in answer.stderr.splitlines()[-1]


def test_up_prints_one_line_and_serves_the_page(house: House) -> None:
    config = house.config(web_port=0, rpc_port=0, updates_port=0)
    with running(*COMMAND, "up", "--config", str(config), stdout=-1, stderr=-1) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        house.url = line.removeprefix("GPU Monitor: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/", house.url)
        assert house.get("healthz") == {"status": "ok"}
        process.terminate()
        assert process.stdout.read() == ""


def test_a_collector_alone_loads_no_event_loop_and_no_web_server(
    house: House, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from gpu_monitor.__main__ import main\n"
        f"code = main(['collector', '--config', {str(house.config())!r}])\n"
        "unwanted = {'asyncio', 'aiohttp', 'ssl', 'gpu_monitor.broker', 'gpu_monitor.web'}\n"
        "print(code, sorted(unwanted & set(sys.modules)))\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with running(COMMAND[0], "-c", script, env=environment, stdout=-1) as process:
            assert manager.recv(100).startswith(b"READY=1")  # after its first push
            process.terminate()
            assert process.communicate()[0] == "0 []\n"


def test_a_collector_listens_on_no_port(house: House) -> None:
    house.start("collector")
    pid = house.running["collector"].pid
    eventually(lambda: "not reachable" in house.log("collector"), "the first push")
    inodes = set(re.findall(r"socket:\[(\d+)\]", " ".join(open_files(pid))))
    listening = {
        fields[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for fields in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:])
        if table.startswith("udp") or fields[3] == "0A"
    }
    assert inodes & listening == set()


def open_files(pid: int) -> list[str]:
    """The targets of the process's file descriptors."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return links


def test_it_runs_as_a_module_without_a_config(tmp_path: Path) -> None:
    answer = call("check", cwd=tmp_path)
    assert answer.stdout.startswith("ok   config: no config.yml found, so the defaults apply\n")


def test_check_accepts_the_parts_of_a_fleet_and_no_other() -> None:
    for part in CHECKED:
        assert part == "all" or part in call("check", "--help").stdout
    assert call("check", "gpu").returncode == 2


def test_check_exits_with_1_if_a_port_is_in_use(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = call("check", "--config", str(house.config(rpc_port=port)))
    assert answer.returncode == 1
    assert f"FAIL broker: rpc_port {port} cannot be used (address already in use)" in answer.stdout
