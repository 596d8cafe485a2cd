"""Reads config.yml; whatever is wrong with it is named with file, line, key and remedy."""

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gpu_monitor.config.keys import KEYS, Config
from gpu_monitor.config.values import Word, Written, Wrong

MAX_BYTES = 1 << 20
MAX_SHOWN = 50
"""Wrong lines that are told; more of them are only counted."""
DEFAULT_PATHS = ("config.yml", "/etc/gpu-monitor/config.yml")

_SIGN_IN_NEEDS = (
    ("viewers", ("token", "basic"), "the file of those who may sign in; write viewers: viewers"),
    ("trusted_proxies", ("proxy",), "the proxy's address; write it under trusted_proxies"),
)
"""Keys without which a way of signing in has no meaning, or a dangerous one."""

_READ_AS = {
    "str": "text",
    "null": "nothing",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
}


class ConfigError(Exception):
    """The configuration is refused; `lines` holds one line of words for each thing wrong."""

    def __init__(self, lines: list[str]) -> None:
        if len(lines) > MAX_SHOWN:
            lines = [*lines[:MAX_SHOWN], f"... and {len(lines) - MAX_SHOWN} more"]
        super().__init__("\n".join(lines))
        self.lines = lines


def find_config(given: str | None) -> str | None:
    """The file to read: the given one, else the first default that exists; None for neither."""
    if given is not None:
        return given
    return next((path for path in DEFAULT_PATHS if os.path.exists(path)), None)


def load_config(path: str | None) -> Config:
    """The configuration in that file (None: the defaults), or ConfigError.

    Files that it names beside itself have their whole paths.
    """
    if path is None:
        return Config()
    config = parse_config(_read(path), path)
    return config._replace(viewers=_beside(path, config.viewers))


def parse_config(text: str, file: str) -> Config:
    """The configuration that `text` holds, or ConfigError with every line that is wrong.

    `file` is the name that stands in front of the lines.
    """
    try:
        root = yaml.compose(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError([_broken(error, file, text)]) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.value == ""):
        return Config()
    if not isinstance(root, yaml.MappingNode):
        line = _line(root.start_mark)
        words = "no key stands here; write lines such as web_port: 8042"
        raise ConfigError([f"{file}:{line}: {words}"])
    read: dict[str, Any] = {}
    lines: dict[str, int] = {}
    wrong: list[tuple[int, str]] = []
    for key_node, value_node in root.value:
        line = _line(key_node.start_mark)
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        try:
            _check_key(key, lines)
            lines[key] = line
            read[key] = KEYS[key].check(_written(value_node))
        except Wrong as error:
            entries = error.entries or [(line, str(error))]
            wrong += [(at, f"{_shown(key)}: {words}") for at, words in entries]
    wrong += _clashes(read, lines)
    if wrong:
        raise ConfigError([f"{file}:{line}: {words}" for line, words in sorted(wrong)])
    return Config(**read)


class _Refused(yaml.MarkedYAMLError):
    """YAML that is right, but has no place in a config.yml."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors, aliases and tags, no deeper than a list under a key."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # as the stubs are
        mark: Any = event.start_mark
        words = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            words = "an anchor (&) or alias (*) stands here; write the value, a * in quotes"
        elif getattr(event, "tag", None):
            words = "a tag (!) stands here; write the value, a ! in quotes"
        elif self.depth > 3:
            words = "this is nested too deep; write 'key: value', or '- name' lines under a key"
        if words:
            raise _Refused(problem=words, problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _beside(path: str, named: str) -> str:
    """A file that config.yml names: relative to the folder of config.yml, not to ours."""
    return os.path.join(os.path.dirname(os.path.abspath(path)), named) if named else ""


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError([f"{path}: cannot be read ({why}); name a readable file"]) from None
    except ValueError:  # a NUL in the path
        raise ConfigError([f"{path!r}: is no path of a file; name a readable file"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: is over 1 MiB; name a config.yml"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is no UTF-8 text; save it as UTF-8"]) from None


def _shown(key: str) -> str:
    return key if key and key.isprintable() and len(key) <= 60 else ascii(key[:60])


def _check_key(key: str, lines: Mapping[str, int]) -> None:
    if key in lines:
        raise Wrong(f"stands in line {lines[key]} already; remove one of them")
    if key in KEYS:
        return
    import difflib  # only here: a collector that runs has no use for it

    near = difflib.get_close_matches(key, KEYS, n=1)
    if near:
        raise Wrong(f"is no key of GPU Monitor; write {near[0]}, or remove it")
    raise Wrong(f"is no key of GPU Monitor; remove it, or use one of {', '.join(KEYS)}")


def _written(node: yaml.Node) -> Written:
    if isinstance(node, yaml.ScalarNode):
        return _word(node)
    if isinstance(node, yaml.MappingNode):
        raise Wrong("keys stand under it; write a value, or '- name' lines")
    for entry in node.value:
        if not isinstance(entry, yaml.ScalarNode):
            line = _line(entry.start_mark)
            raise Wrong("", [(line, "an entry is a list or has keys; write '- name'")])
    return [_word(entry) for entry in node.value]


def _word(node: yaml.ScalarNode) -> Word:
    kind = node.tag.rpartition(":")[2]
    return Word(node.value, _READ_AS.get(kind, "something else"), _line(node.start_mark))


def _clashes(read: Mapping[str, Any], lines: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """What is wrong between keys that are right by themselves."""

    def value(key: str) -> Any:
        return read.get(key, KEYS[key].default) if key not in lines or key in read else None

    interval, rpc_timeout = value("interval"), value("rpc_timeout")
    if interval and rpc_timeout and rpc_timeout < 2 * interval:
        key = "rpc_timeout" if "rpc_timeout" in lines else "interval"
        yield (
            lines[key],
            f"{key}: rpc_timeout ({rpc_timeout:g} s) must be at least twice interval "
            f"({interval:g} s); write rpc_timeout: {2 * interval:g}",
        )
    mode = value("sign_in")
    for key, modes, words in _SIGN_IN_NEEDS:
        if mode in modes and key not in lines:
            yield lines["sign_in"], f"sign_in: {mode} needs {words}"
    ports: dict[int, str] = {}
    for key in ("web_port", "rpc_port", "updates_port"):
        port = value(key)
        if port and port in ports:
            blamed = key if key in lines else ports[port]
            words = f"{blamed}: {ports[port]} and {key} are both {port}; write two different ports"
            yield lines[blamed], words
        ports.setdefault(port, key)


def _broken(error: Exception, file: str, text: str) -> str:
    """One line for what the YAML reader stumbled over."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{file}:{line}: a control character stands here; save the file as plain text"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = _line(mark) if mark else 1
        words = " ".join((error.problem or "").split()) or "cannot be read"
        if isinstance(error, _Refused):
            return f"{file}:{line}: {words}"
        remedy = 'write lines such as web_port: 8042, and values with signs in quotes: "*"'
        return f"{file}:{line}: is no YAML ({words[:120]}); {remedy}"
    return f"{file}:1: is no YAML that can be read; write lines such as web_port: 8042"


def _line(mark: Any) -> int:
    """The line as an editor counts it, from 1. Any: the marks of YAML are untyped."""
    return int(mark.line) + 1
