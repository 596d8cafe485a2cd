"""README, docs/ and config.yml agree with the settings, commands, paths and files they describe."""

import re
from functools import cache
from pathlib import Path

import pytest

from gpu_monitor.arguments import COMMANDS
from gpu_monitor.config.file import parse_config
from gpu_monitor.config.keys import KEYS, Config
from gpu_monitor.config.scalars import InvalidValue, Scalar
from tests.support.house import ROOT

README = (ROOT / "README.md").read_text()
CONFIG = (ROOT / "config.yml").read_text()
PAGES = (
    "README.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
MAX_README_LINES = 160
EMPTY_DEFAULTS = {
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
"""How README writes a default that is empty or a list."""


def comment_on(key: str) -> str:
    """The lines of config.yml above a key that explain it."""
    found = re.search(rf"((?:^# .*\n)+)(?:^#.*\n)*^#?{key}:", CONFIG, re.MULTILINE)
    assert found, f"{key} has no comment in config.yml"
    return found[1]


def test_config_yml_is_valid_and_sets_only_defaults() -> None:
    assert parse_config(CONFIG, "config.yml") == Config()


@pytest.mark.parametrize("key", KEYS)
def test_config_yml_lists_every_key_with_its_default(key: str) -> None:
    lines = re.findall(rf"^#?({key}:.*)$", CONFIG, re.MULTILINE)
    assert getattr(parse_config(lines[-1], "config.yml"), key) == KEYS[key].default
    assert len(lines) == (2 if key == "hosts" else 1)  # hosts: an example and the empty list


@pytest.mark.parametrize("key", [key for key in KEYS if KEYS[key].unit])
def test_config_yml_names_the_unit_of_every_key(key: str) -> None:
    words = KEYS[key].unit.lower().replace("names or addresses", "names or")
    assert words in comment_on(key).lower()


def test_config_yml_states_the_ranges_that_are_checked() -> None:
    for name, key in KEYS.items():
        found = re.search(r"\(([0-9.]+) to ([0-9]+)", comment_on(name))
        if found is None:
            continue
        for text in found.groups():
            key.check(Scalar(text, "a number", 1))
        with pytest.raises(InvalidValue):
            key.check(Scalar(str(int(found[2]) + 1), "a number", 1))


def test_config_yml_and_readme_list_only_keys_that_exist() -> None:
    assert set(re.findall(r"^#?([a-z_]+):(?: |$)", CONFIG, re.MULTILINE)) == set(KEYS)
    table = README[README.index("| key |") : README.index("A wrong key")]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_readme_lists_every_key_with_its_default(key: str) -> None:
    row = re.search(rf"^\| `{key}` \| ?(.*?) ?\| .+ \|$", README, re.MULTILINE)
    assert row, f"{key} has no row in README.md"
    default = KEYS[key].default
    written = f"{default:g}" if type(default) is float else str(default)
    assert row[1] == EMPTY_DEFAULTS.get(key, written)


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_lists_every_command(command: str) -> None:
    assert f"`gpu-monitor {command}" in README


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


@cache
def help_pages() -> dict[str, str]:
    """By command, such as `gpu-monitor keys add`, what its --help prints."""
    text = (ROOT / "tests" / "golden" / "help.txt").read_text()
    parts = re.split(r"^\$ (gpu-monitor.*) --help$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def quoted_commands(page: str) -> list[str]:
    """The gpu-monitor commands of a page, in shell blocks and in inline code."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    commands = (re.search(r"(?:^|/)(gpu-monitor(?= |$).*)", line) for line in lines)
    return [found[1].strip() for found in commands if found]


@pytest.mark.parametrize("page", PAGES)
def test_quoted_commands_and_their_options_exist(page: str) -> None:
    for command in quoted_commands(page):
        words = command.split()
        names = [" ".join(words[:count]) for count in (3, 2, 1)]
        name = next(name for name in names if name in help_pages())
        following = words[len(name.split()) :]
        has_actions = "ACTION" in help_pages()[name] or name == "gpu-monitor"
        assert not (has_actions and following and not following[0].startswith("-")), command
        for option in (word.partition("=")[0] for word in following if word.startswith("--")):
            assert option in help_pages()[name], f"{page}: {command}"


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_named_on_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= targets


def anchors(page: Path) -> set[str]:
    """The fragments under which a page's headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_to_a_file_and_a_heading(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", (ROOT / page).read_text()):
        path, _, fragment = target.partition("#")
        file = (folder / path).resolve() if path else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        assert not fragment or fragment in anchors(file), f"{page} links to {target}"


def test_files_and_folders_named_in_the_contributors_guide_exist() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text()
    named = re.findall(r"`([\w.]+/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_glossary_gives_each_term_one_meaning() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    cells = re.findall(r"^\| (?!term|verb|-)([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    terms = [term for cell in cells for term in cell.split(", ")]
    assert len(terms) == len(set(terms)) >= 25
    files = [*ROOT.glob("*/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    everything = "\n".join(path.read_text() for path in files if path.name != "glossary.md")
    unused = [t for t in terms if t not in everything and t.replace(" ", "_") not in everything]
    assert unused == []
