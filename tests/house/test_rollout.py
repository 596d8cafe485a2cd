"""What can be checked of the playbook without deploying it."""

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpu_monitor.config.keys import KEYS
from tests.support.house import ROOT

ANSIBLE = ROOT / "ansible"
ROLES = ANSIBLE / "roles"
FILES = sorted(path for path in ANSIBLE.rglob("*.yml"))
TASK_FILES = [path for path in FILES if path.parent.name in ("tasks", "handlers")]
KEYWORDS = {
    "apply", "args", "become", "block", "changed_when", "check_mode", "connection", "delay",
    "delegate_to", "diff", "failed_when", "listen", "loop", "loop_control", "name", "no_log",
    "notify", "register", "rescue", "retries", "run_once", "tags", "throttle", "until", "vars",
    "when",
}  # fmt: skip
MODES = {"ansible.builtin.copy", "ansible.builtin.file", "ansible.builtin.template"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ANSIBLE))


def tasks_in(tree: Any) -> Iterator[dict[str, Any]]:
    """Every task of a file, including those in blocks."""
    for task in tree or []:
        if "block" in task:
            yield from tasks_in(task["block"])
        for part in ("tasks", "post_tasks"):
            yield from tasks_in(task.get(part))
        if not {"block", "hosts"} & task.keys():
            yield task


def all_tasks() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name_of(path), task)
        for path in [*TASK_FILES, ANSIBLE / "main.yml"]
        for task in tasks_in(yaml.safe_load(path.read_text()))
    ]


def modules(task: dict[str, Any]) -> set[str]:
    return task.keys() - KEYWORDS


TASKS = all_tasks()
IDS = [f"{path}: {task.get('name')}" for path, task in TASKS]


@pytest.mark.parametrize(("path", "task"), TASKS, ids=IDS)
def test_a_task_has_a_name_and_one_fully_qualified_module(path: str, task: dict[str, Any]) -> None:
    assert re.match(r"[A-Z]|\w+: ", task["name"])
    (module,) = modules(task)
    assert module.startswith("ansible.builtin."), module


@pytest.mark.parametrize(("path", "task"), TASKS, ids=IDS)
def test_written_files_have_an_owner_and_a_quoted_mode(path: str, task: dict[str, Any]) -> None:
    (module,) = modules(task)
    arguments = task[module]
    if module not in MODES or arguments.get("state") in ("absent", "link"):
        return
    assert isinstance(arguments["mode"], str)
    assert arguments["owner"] and arguments["group"]


@pytest.mark.parametrize(("path", "task"), TASKS, ids=IDS)
def test_a_command_declares_when_it_changes_something(path: str, task: dict[str, Any]) -> None:
    (module,) = modules(task)
    if module.rpartition(".")[2] in ("command", "shell", "raw"):
        assert "changed_when" in task


@pytest.mark.parametrize(("path", "task"), TASKS, ids=IDS)
def test_tasks_that_handle_secrets_are_not_logged(path: str, task: dict[str, Any]) -> None:
    (module,) = modules(task)
    if "own.key" in str(task):
        assert task.get("no_log") is True
    if module == "ansible.builtin.template":
        assert task["diff"] is False


@pytest.mark.parametrize("path", FILES, ids=map(name_of, FILES))
def test_a_file_is_yaml_without_duplicate_keys(path: Path) -> None:
    def check(node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"{path}: duplicate key among {keys}"
            for _, value in node.value:
                check(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                check(value)

    root = yaml.compose(path.read_text())
    assert root is not None
    check(root)


def test_every_variable_is_declared_and_documented() -> None:
    common = ROLES / "gpu_monitor"
    defaults = yaml.safe_load((common / "defaults" / "main.yml").read_text())
    specs = yaml.safe_load((common / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    assert specs["main"]["options"].keys() == defaults.keys()
    operations = (ROOT / "docs" / "operations.md").read_text()
    for name, option in specs["main"]["options"].items():
        assert f"`{name}`" in operations
        if "default" in option:
            assert option["default"] == defaults[name]


def test_every_role_declares_its_arguments() -> None:
    for role in ROLES.iterdir():
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
        assert "main" in specs["argument_specs"]


def test_the_playbook_writes_only_keys_of_config_yml() -> None:
    text = (ROLES / "gpu_monitor" / "vars" / "main.yml").read_text()
    settings = text[text.index("gpu_monitor_settings:") : text.index("# What preflight.yml")]
    written = set(re.findall(r"'(\w+)':", settings))
    assert {"broker", "hosts", "updates_bind"} <= written
    assert written <= set(KEYS)


def test_the_inventory_in_the_readme_is_the_example() -> None:
    example = (ANSIBLE / "hosts.example").read_text()
    inventory = example[example.index("\n[webserver]") :]
    for page in ("README.md", "docs/operations.md"):
        text = (ROOT / page).read_text()
        assert inventory in text
        assert "ansible-playbook -i ./hosts main.yml --ask-become-pass" in text


def test_the_lock_file_covers_all_requirements_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    names = re.findall(r"^([\w-]+)", setup["options"]["install_requires"], re.MULTILINE)
    lock = (ANSIBLE / "requirements.txt").read_text()
    assert names
    for name in names:
        assert re.search(rf"^{name}==", lock, re.MULTILINE), f"run tools/lock, {name} is missing"


def test_the_lock_file_has_a_hash_for_every_file() -> None:
    for line in (ANSIBLE / "requirements.txt").read_text().splitlines():
        assert re.match(r"#|\S+==\S+ .*\\$|    --hash=sha256:[0-9a-f]{64}( \\)?$", line), line
