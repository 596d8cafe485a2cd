"""What README and config.yml say of the settings and commands is what the code does."""

import re

import pytest

from gpu_monitor.arguments import COMMANDS
from gpu_monitor.config.file import parse_config
from gpu_monitor.config.keys import KEYS, Config
from gpu_monitor.config.scalars import InvalidValue, Scalar
from tests.support.house import ROOT

README = (ROOT / "README.md").read_text()
CONFIG = (ROOT / "config.yml").read_text()
WORDS_FOR = {
    "hosts": "none",
    "base_path": "none",
    "name": "hostname",
    "rpc_bind": "",
    "viewers": "none",
    "trusted_proxies": "loopback",
    "allowed_origins": "none",
    "web_hosts": "none",
    "never_idle": "none",
    "container_socket": "none",
    "keys": "none",
}
"""What README says where the default is nothing."""


def comment_on(key: str) -> str:
    """The lines of config.yml above a key, and the key's own line as if it were set."""
    found = re.search(rf"((?:^# .*\n)+)(?:^#.*\n)*^#?{key}:", CONFIG, re.MULTILINE)
    assert found, f"{key} has no comment in config.yml"
    return found[1]


def test_config_yml_works_as_it_stands_and_sets_nothing_but_defaults() -> None:
    assert parse_config(CONFIG, "config.yml") == Config()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_stands_in_config_yml_with_its_default(key: str) -> None:
    lines = re.findall(rf"^#?({key}:.*)$", CONFIG, re.MULTILINE)
    assert getattr(parse_config(lines[-1], "config.yml"), key) == KEYS[key].default
    assert len(lines) == (2 if key == "hosts" else 1)  # hosts: an example, and the empty list


@pytest.mark.parametrize("key", [key for key in KEYS if KEYS[key].unit])
def test_config_yml_names_the_unit_of_every_key(key: str) -> None:
    words = KEYS[key].unit.lower().replace("names or addresses", "names or")
    assert words in comment_on(key).lower()


def test_config_yml_tells_the_ranges_that_are_checked() -> None:
    for name, key in KEYS.items():
        found = re.search(r"\(([0-9.]+) to ([0-9]+)", comment_on(name))
        if found is None:
            continue
        for text in found.groups():
            key.check(Scalar(text, "a number", 1))
        with pytest.raises(InvalidValue):
            key.check(Scalar(str(int(found[2]) + 1), "a number", 1))


def test_config_yml_and_readme_name_no_key_that_is_none() -> None:
    assert set(re.findall(r"^#?([a-z_]+):(?: |$)", CONFIG, re.MULTILINE)) == set(KEYS)
    table = README[README.index("| key |") : README.index("A wrong key")]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_stands_in_the_readme_with_its_default(key: str) -> None:
    row = re.search(rf"^\| `{key}` \| ?(.*?) ?\| .+ \|$", README, re.MULTILINE)
    assert row, f"{key} has no row in README.md"
    default = KEYS[key].default
    assert row[1] == WORDS_FOR.get(key, f"{default:g}" if type(default) is float else str(default))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme(command: str) -> None:
    assert f"`gpu-monitor {command}" in README


def test_what_readme_says_to_make_can_be_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?= |`|\n)", README)) <= targets
