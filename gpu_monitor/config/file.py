"""Read config.yml; every error gives file, line, key and remedy."""

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gpu_monitor.config.keys import KEYS, Config
from gpu_monitor.config.scalars import InvalidValue, Scalar, Written

MAX_CONFIG_BYTES = 1 << 20
MAX_ERRORS_SHOWN = 50
"""Errors beyond this many are only counted."""
DEFAULT_PATHS = ("config.yml", "/etc/gpu-monitor/config.yml")

_SIGN_IN_NEEDS = (
    ("viewers", ("token", "basic"), "a file of viewers; write viewers: viewers"),
    ("trusted_proxies", ("proxy",), "the address of the proxy; write it under trusted_proxies"),
)
"""Key, the modes of sign_in that are useless or unsafe without it, and what they lack."""

_READ_AS = {
    "str": "text",
    "null": "nothing",
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
}


class ConfigError(Exception):
    """The configuration is refused; `lines` holds one line per error."""

    def __init__(self, lines: list[str]) -> None:
        if len(lines) > MAX_ERRORS_SHOWN:
            lines = [*lines[:MAX_ERRORS_SHOWN], f"... and {len(lines) - MAX_ERRORS_SHOWN} more"]
        super().__init__("\n".join(lines))
        self.lines = lines


def find_config(given: str | None) -> str | None:
    """The file to read: `given`, else the first default path that exists, else None."""
    if given is not None:
        return given
    return next((path for path in DEFAULT_PATHS if os.path.exists(path)), None)


def load_config(path: str | None) -> Config:
    """The configuration in the file at `path` (None: the defaults), or ConfigError.

    Relative paths in the file become absolute, from the folder of the file.
    """
    if path is None:
        return Config()
    config = parse_config(_read(path), path)
    return config._replace(viewers=_absolute(config.viewers, path))


def parse_config(text: str, file: str) -> Config:
    """The configuration in `text`, or ConfigError with every error in it.

    `file` is the name given in error lines.
    """
    try:
        root = yaml.compose(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError([_yaml_error(error, file, text)]) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.value == ""):
        return Config()
    if not isinstance(root, yaml.MappingNode):
        line = _line(root.start_mark)
        message = "this is not a list of keys; write lines such as web_port: 8042"
        raise ConfigError([f"{file}:{line}: {message}"])
    read: dict[str, Any] = {}
    lines: dict[str, int] = {}
    errors: list[tuple[int, str]] = []
    for key_node, value_node in root.value:
        line = _line(key_node.start_mark)
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        try:
            _check_key(key, lines)
            lines[key] = line
            read[key] = KEYS[key].check(_written(value_node))
        except InvalidValue as error:
            entries = error.entries or [(line, str(error))]
            errors += [(at, f"{_shown(key)}: {message}") for at, message in entries]
    errors += _clashes(read, lines)
    if errors:
        raise ConfigError([f"{file}:{line}: {message}" for line, message in sorted(errors)])
    return Config(**read)


class _UnsupportedYaml(yaml.MarkedYAMLError):
    """Valid YAML that config.yml does not allow."""


class _PlainLoader(yaml.SafeLoader):
    """Loads YAML without anchors, aliases or tags, no deeper than a list under a key."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in the stubs
        mark: Any = event.start_mark
        problem = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = "anchors (&) and aliases (*) are not supported; write the value, quote any *"
        elif getattr(event, "tag", None):
            problem = "tags (!) are not supported; write the value, quote any !"
        elif self.depth > 3:
            problem = "this is nested too deep; write 'key: value', or '- name' lines under a key"
        if problem:
            raise _UnsupportedYaml(problem=problem, problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _absolute(named: str, config_path: str) -> str:
    """The absolute path of a file that config.yml names relative to its own folder."""
    return os.path.join(os.path.dirname(os.path.abspath(config_path)), named) if named else ""


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError([f"{path}: cannot be read ({why}); name a readable file"]) from None
    except ValueError:  # a NUL in the path
        raise ConfigError([f"{path!r}: is not a file path; name a readable file"]) from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError([f"{path}: is larger than 1 MiB; name a config.yml"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8 text; save it as UTF-8"]) from None


def _shown(key: str) -> str:
    return key if key and key.isprintable() and len(key) <= 60 else ascii(key[:60])


def _check_key(key: str, lines: Mapping[str, int]) -> None:
    if key in lines:
        raise InvalidValue(f"duplicate key (first on line {lines[key]}); remove one")
    if key in KEYS:
        return
    import difflib  # not at the top: a running collector does not need it

    near = difflib.get_close_matches(key, KEYS, n=1)
    if near:
        raise InvalidValue(f"unknown key; write {near[0]}, or remove it")
    raise InvalidValue(f"unknown key; remove it, or use one of {', '.join(KEYS)}")


def _written(node: yaml.Node) -> Written:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.MappingNode):
        raise InvalidValue("keys are not allowed below it; write a value, or '- name' lines")
    for entry in node.value:
        if not isinstance(entry, yaml.ScalarNode):
            line = _line(entry.start_mark)
            raise InvalidValue("", [(line, "an entry must be a single value; write '- name'")])
    return [_scalar(entry) for entry in node.value]


def _scalar(node: yaml.ScalarNode) -> Scalar:
    kind = node.tag.rpartition(":")[2]
    return Scalar(node.value, _READ_AS.get(kind, "something else"), _line(node.start_mark))


def _clashes(read: Mapping[str, Any], lines: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Conflicts between keys that are each valid."""

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
    for key, modes, lacking in _SIGN_IN_NEEDS:
        if mode in modes and key not in lines:
            yield lines["sign_in"], f"sign_in: {mode} needs {lacking}"
    ports: dict[int, str] = {}
    for key in ("web_port", "rpc_port", "updates_port"):
        port = value(key)
        if port and port in ports:
            blamed = key if key in lines else ports[port]
            pair = f"{ports[port]} and {key} are both {port}"
            yield lines[blamed], f"{blamed}: {pair}; write two different ports"
        ports.setdefault(port, key)


def _yaml_error(error: Exception, file: str, text: str) -> str:
    """The error line for text that the YAML reader rejects."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{file}:{line}: contains a control character; save the file as plain text"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = _line(mark) if mark else 1
        problem = " ".join((error.problem or "").split()) or "cannot be read"
        if isinstance(error, _UnsupportedYaml):
            return f"{file}:{line}: {problem}"
        remedy = 'write lines such as web_port: 8042, and quote special characters: "*"'
        return f"{file}:{line}: invalid YAML ({problem[:120]}); {remedy}"
    return f"{file}:1: invalid YAML; write lines such as web_port: 8042"


def _line(mark: Any) -> int:
    """The line number, from 1. Any: the marks of PyYAML are untyped."""
    return int(mark.line) + 1
