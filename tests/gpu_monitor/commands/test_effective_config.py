"""`gpu-monitor config`: what it prints is a config.yml itself."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.commands.effective_config import effective_lines
from gpu_monitor.config.file import parse_config
from gpu_monitor.config.keys import KEYS, Config
from tests.support.house import COMMAND, ROOT

SHIPPED = (ROOT / "config.yml").read_text()
COUNTS = st.integers(0, 1_000_000)
SECONDS = st.floats(1, 31_536_000).map(lambda seconds: round(seconds, 3))
COMMAND_LINES = st.sampled_from(["python serve.py", "no", "7", "a: b", "#x", 'say "hi"', "é"])


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "config", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.processes
def test_print_writes_the_shipped_config_yml(tmp_path: Path) -> None:
    assert run("--print", cwd=tmp_path).stdout == SHIPPED


@pytest.mark.processes
def test_print_works_beside_a_broken_config_yml(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("colour: red\n")
    answer = run("--print", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (0, SHIPPED)


@pytest.mark.processes
def test_without_arguments_it_prints_the_file_and_every_effective_setting(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("web_port: 9000\nhosts: [node1, node2]\n")
    answer = run(cwd=tmp_path)
    lines = answer.stdout.splitlines()
    assert answer.returncode == 0
    assert lines[:2] == ["# config.yml: valid", "web_port: 9000"]
    assert 'hosts:\n  - "node1"\n  - "node2"\n' in answer.stdout
    assert "rpc_port: 8043  # default" in lines
    assert [line.partition(":")[0] for line in lines if line[:1].isalpha()] == list(KEYS)


def test_without_a_file_every_setting_is_its_default() -> None:
    first, *lines = effective_lines(Config(), None)
    assert first == "# no config.yml found; every setting is its default"
    assert all(line.endswith("  # default") for line in lines)


@given(COUNTS, SECONDS, st.lists(COMMAND_LINES, unique=True), st.sampled_from(["", "é", "a: b"]))
def test_the_printed_settings_have_the_same_effect(
    mib: int, seconds: float, never_idle: list[str], viewers: str
) -> None:
    config = Config(
        free_memory_mib=mib,
        held_idle_after=seconds,
        never_idle=tuple(never_idle),
        viewers=viewers,
        commands="off",
        trusted_proxies=(),
    )
    printed = "\n".join(effective_lines(config, "config.yml"))
    assert parse_config(printed, "printed") == config


@pytest.mark.parametrize("key", KEYS)
def test_every_default_can_be_read_back(key: str) -> None:
    printed = "\n".join(effective_lines(Config(), None))
    assert getattr(parse_config(printed, "printed"), key) == KEYS[key].default
