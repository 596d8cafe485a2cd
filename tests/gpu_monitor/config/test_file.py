"""config.yml: what is accepted, and the error line that each invalid file gets."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpu_monitor.config.file import ConfigError, find_config, load_config, parse_config
from gpu_monitor.config.keys import KEYS, Config

ORIGINAL = """\
# Config for GPU monitor
web_port: 8042
rpc_port: 8043
rpc_timeout: 2
hosts:
  - host1
  - host2
"""
LINE = re.compile(r"config\.yml:[0-9]+: [^\n]+; [^\n]+|\.\.\. and [0-9]+ more")


def lines_of(text: str | bytes, tmp_path: Path) -> list[str]:
    """The error lines for a file with this content, without its folder."""
    file = tmp_path / "config.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(str(file))
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.lines]


def test_the_original_file_of_four_keys_is_accepted() -> None:
    config = parse_config(ORIGINAL, "config.yml")
    assert config == Config(hosts=("host1", "host2"), web_port=8042, rpc_port=8043, rpc_timeout=2)


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "hosts:\n", "\ufeff"])
def test_an_empty_file_gives_the_defaults(text: str) -> None:
    assert parse_config(text, "config.yml") == Config()


def test_paths_are_relative_to_the_folder_of_config_yml(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    for written, meant in (("viewers", tmp_path / "viewers"), ("/etc/v", "/etc/v")):
        file.write_text(f"viewers: {written}\n")
        assert load_config(str(file)).viewers == str(meant)


def test_without_a_file_the_defaults_apply() -> None:
    assert load_config(None) == Config()


@pytest.mark.parametrize("key", KEYS)
def test_every_key_accepts_its_own_default(key: str) -> None:
    default = KEYS[key].default
    text = json.dumps(list(default)) if isinstance(default, tuple) else repr(default)
    assert getattr(parse_config(f"{key}: {text}", "config.yml"), key) == default


ACCEPTED = [
    ("web_port: 0", "web_port", 0),
    ("web_port: 65535", "web_port", 65535),
    ("rpc_timeout: 2.5", "rpc_timeout", 2.5),
    ("interval: 0.5", "interval", 0.5),
    ("commands: off", "commands", "off"),
    ("commands: 'scrubbed'", "commands", "scrubbed"),
    ("base_path: /gpus/", "base_path", "/gpus"),
    ("base_path: /", "base_path", ""),
    ('web_bind: "*"', "web_bind", "*"),
    ('web_bind: "::1"', "web_bind", "::1"),
    ("updates_bind: '[::1]'", "updates_bind", "::1"),
    ("web_bind: localhost", "web_bind", "127.0.0.1"),
    ("broker: gpu-head.example", "broker", "gpu-head.example"),
    ("hosts: [a, 10.0.0.3, 'fe80::1', '12']", "hosts", ("a", "10.0.0.3", "fe80::1", "12")),
    ("name: lab-1", "name", "lab-1"),
    ("viewer_role: counts", "viewer_role", "counts"),
    ("user_header: X-Forwarded-User", "user_header", "X-Forwarded-User"),
    (
        "trusted_proxies: [10.0.0.0/8, 'fd00::/8', 10.0.0.1]",
        "trusted_proxies",
        ("10.0.0.0/8", "fd00::/8", "10.0.0.1"),
    ),
    ("trusted_proxies: []", "trusted_proxies", ()),
    (
        "allowed_origins: ['https://wiki.example:8443', 'http://[::1]']",
        "allowed_origins",
        ("https://wiki.example:8443", "http://[::1]"),
    ),
    ("web_hosts: [gpus.example.org, gpus]", "web_hosts", ("gpus.example.org", "gpus")),
    (
        "never_idle: [tritonserver, python serve.py, Python serve.py, '7z']",
        "never_idle",
        ("tritonserver", "python serve.py", "Python serve.py", "7z"),
    ),
    ("keys: /etc/gpu-monitor/keys/", "keys", "/etc/gpu-monitor/keys"),
    ('keys: ""', "keys", ""),
    ("container_socket: /run/docker.sock", "container_socket", "/run/docker.sock"),
]


@pytest.mark.parametrize(("text", "key", "value"), ACCEPTED)
def test_a_valid_value_is_accepted(text: str, key: str, value: object) -> None:
    assert getattr(parse_config(text, "config.yml"), key) == value


REFUSED = [
    ("web_prot: 8042", "1: web_prot: unknown key; write web_port, or remove it"),
    ("colour: red", "1: colour: unknown key; remove it, or use one of web_port"),
    ("keys: a\n", "1: keys: 'a' is not an absolute path; write one such as /etc/gpu-monitor/keys"),
    ('keys: "/a\\nb"', "1: keys: '/a\\nb' is not an absolute path"),
    (
        "container_socket: docker.sock",
        "1: container_socket: 'docker.sock' is not an absolute path; write",
    ),
    (
        "container_socket: /run/",
        "1: container_socket: '/run/' is not an absolute path; write one such as",
    ),
    ("tick: 0.5\ntick: 1", "2: tick: duplicate key (first on line 1); remove one"),
    ("web_port: 010", "1: web_port: '010' is not a whole number in plain digits; write"),
    ("web_port: 12:30", "1: web_port: '12:30' is not a whole number"),
    ("web_port: 0x1f", "1: web_port: '0x1f' is not a whole number"),
    ("web_port: 8_042", "1: web_port: '8_042' is not a whole number"),
    ("web_port: 80.5", "1: web_port: '80.5' is not a whole number"),
    ("web_port: yes", "1: web_port: 'yes' is not a whole number"),
    ("web_port: '8042'", "1: web_port: '8042' is text; write 8042 without quotes"),
    ("web_port: 65536", "1: web_port: 65536 is out of range; write a number from 0 to 65535"),
    ("web_port: -1", "1: web_port: '-1' is not a whole number"),
    ("web_port:", "1: web_port: the value is missing; write a whole number from 0 to 65535, or"),
    ("web_port: [1]", "1: web_port: a list is not allowed here; write a whole number"),
    ("web_port: {a: 1}", "1: web_port: keys are not allowed below it; write a value"),
    ("rpc_timeout: 1", "1: rpc_timeout: 1 is out of range; write seconds from 1.5 to 3600"),
    ("rpc_timeout: two", "1: rpc_timeout: 'two' is not a number of seconds; write"),
    ("rpc_timeout: .inf", "1: rpc_timeout: '.inf' is not a number of seconds"),
    ("rpc_timeout: 1e3", "1: rpc_timeout: '1e3' is not a number of seconds"),
    ("rpc_timeout: '2'", "1: rpc_timeout: '2' is text; write 2 without quotes"),
    ("commands: no", "1: commands: 'no' is not a valid choice; write name, scrubbed, full or off"),
    ("broker: on", '1: broker: YAML reads on as true or false; quote it: "on"'),
    ("broker: http://a/", "1: broker: 'http://a/' is not a host; write the name alone"),
    ("name: a b", "1: name: 'a b' is not a host name; use"),
    ("sign_in: yes", "1: sign_in: 'yes' is not a valid choice; write none, token, basic or proxy"),
    ("sign_in: token", "1: sign_in: token needs a file of viewers; write viewers"),
    ("sign_in: basic", "1: sign_in: basic needs a file of viewers; write viewers"),
    (
        "sign_in: proxy",
        "1: sign_in: proxy needs the address of the proxy; write it under trusted_prox",
    ),
    (
        "viewer_role: root",
        "1: viewer_role: 'root' is not a valid choice; write commands, names or co",
    ),
    ("viewers: a/", "1: viewers: 'a/' is not a file path; write one such as viewers"),
    (
        "user_header: 'X: y'",
        "1: user_header: 'X: y' is not a header name; write one such as X-Remote",
    ),
    ("trusted_proxies: a", "1: trusted_proxies: 'a' is not a list; write one network per line"),
    ("trusted_proxies: [proxy]", "1: trusted_proxies: 'proxy' is not an address or network; write"),
    ("trusted_proxies: [10.0.0.1/8]", "1: trusted_proxies: '10.0.0.1/8' is not an address or netw"),
    ("allowed_origins: ['https://a/b']", "1: allowed_origins: 'https://a/b' is not an origin; wri"),
    ("web_hosts: gpus", "1: web_hosts: 'gpus' is not a list; write one host per line"),
    (
        "web_hosts: ['gpus:8042']",
        "1: web_hosts: 'gpus:8042' is not an IPv6 address; write a host ",
    ),
    (
        "web_hosts: ['http://gpus/']",
        "1: web_hosts: 'http://gpus/' is not a host; write the name al",
    ),
    (
        "allowed_origins: ['*']",
        "1: allowed_origins: '*' is not an origin; write https://, name and",
    ),
    (
        "never_idle: python",
        "1: never_idle: 'python' is not a list; write one command per line, each as",
    ),
    (
        "never_idle: ['']",
        "1: never_idle: '' is not a command; write it as the page shows it, such as",
    ),
    ("never_idle:\n- a\n- 'a  b'", "3: never_idle: 'a  b' is not a command; write it as the page"),
    ("never_idle: ['a ']", "1: never_idle: 'a ' is not a command; write it as the page shows it"),
    ('never_idle: ["a\\tb"]', "1: never_idle: 'a\\tb' is not a command; write it as the page"),
    ("never_idle: [7]", '1: never_idle: YAML reads 7 as a number; quote it: "7"'),
    ("never_idle:\n- a\n- b\n- a", "4: never_idle: duplicate command a (first on line 2); remove"),
    ("base_path: gpus", "1: base_path: 'gpus' is not a plain path; write one such as /gpus"),
    ("base_path: /../x", "1: base_path: '/../x' is not a plain path"),
    ("rpc_bind: eth0", "1: rpc_bind: 'eth0' is not an address; write"),
    ("hosts: a", "1: hosts: 'a' is not a list; write one host per line, each as '- name'"),
    ("hosts:\n  a: b", "1: hosts: keys are not allowed below it; write"),
    ("hosts:\n- a\n- no", '3: hosts: YAML reads no as true or false; quote it: "no"'),
    ("hosts:\n- 12:30", '2: hosts: YAML reads 12:30 as a number; quote it: "12:30"'),
    ("hosts:\n- 2024-01-01", "2: hosts: YAML reads 2024-01-01 as a date; quote it"),
    ("hosts:\n-", "2: hosts: the value is missing; write"),
    ("hosts:\n- a\n- b\n- A", "4: hosts: duplicate host A (first on line 2); remove one"),
    ("hosts: [a, a]", "1: hosts: duplicate host a (first on line 1); remove one"),
    ("hosts:\n- a:8042", "2: hosts: 'a:8042' is not an IPv6 address; write a host name without a"),
    ("hosts:\n- 10.0.0.300", "2: hosts: '10.0.0.300' is not an IPv4 address; write"),
    ("hosts:\n- a b", "2: hosts: 'a b' is not a host; write"),
    ("hosts:\n- b: 1", "2: hosts: an entry must be a single value; write '- name'"),
    ("hosts:\n- [a]", "2: hosts: an entry must be a single value; write '- name'"),
    ("rpc_timeout: 2\ninterval: 3", "1: rpc_timeout: rpc_timeout (2 s) must be at least twice"),
    ("interval: 2", "1: interval: rpc_timeout (2 s) must be at least twice interval (2 s); write"),
    ("web_port: 8043", "1: web_port: web_port and rpc_port are both 8043; write two different"),
    ("updates_port: 8042", "1: updates_port: web_port and updates_port are both 8042; write"),
    ("just words", "1: this is not a list of keys; write lines such as web_port: 8042"),
    ("- a\n- b", "1: this is not a list of keys; write"),
    ("web_port: 1\n  tick: 2: 3", "2: invalid YAML ("),
    ("web_bind: *", "1: invalid YAML ("),
    ("\ttick: 1", "1: invalid YAML ("),
    ("tick: 1\n---\ntick: 1", "2: invalid YAML ("),
    ("tick: &a 1", "1: anchors (&) and aliases (*) are not supported; write"),
    ("tick: !!int 1", "1: tags (!) are not supported; write"),
    ("tick: [[[[[1]]]]]", "1: this is nested too deep; write"),
    ("tick: \x00", "1: contains a control character; save"),
    ('tick: "\\UFFFFFFFF"', "1: invalid YAML; write"),
    ("[a, b]: 1", "1: '': unknown key; remove it"),
    ("tick: 1\nh\u00f6sts: 2".encode("latin-1"), "2: is not UTF-8 text; save it as UTF-8"),
    (b"\x7fELF\x02\x01\x00\xff", "1: is not UTF-8 text; save it as UTF-8"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_an_invalid_file_gets_one_line_with_file_line_key_and_remedy(
    text: str | bytes, words: str, tmp_path: Path
) -> None:
    lines = lines_of(text, tmp_path)
    assert len(lines) == 1
    assert lines[0].startswith(f"config.yml:{words}")
    assert LINE.fullmatch(lines[0])


def test_all_errors_are_reported_at_once_in_file_order(tmp_path: Path) -> None:
    lines = lines_of("tick: 9\nhosts:\n- no\n- a\n- a\ncolour: red\nweb_port: x\n", tmp_path)
    assert [line.split(":")[1] for line in lines] == ["1", "3", "5", "6", "7"]


def test_errors_beyond_the_limit_are_only_counted(tmp_path: Path) -> None:
    lines = lines_of("\n".join(f"a{number}: 1" for number in range(80)), tmp_path)
    assert len(lines) == 51
    assert lines[-1] == "... and 30 more"


def test_more_hosts_than_a_broker_holds_are_refused() -> None:
    many = "hosts: [" + ", ".join(f"h{number}" for number in range(10_001)) + "]"
    with pytest.raises(ConfigError, match="10001 hosts are too many; list at most 10000"):
        parse_config(many, "config.yml")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    for path, why in [
        (tmp_path / "none.yml", "no such file or directory"),
        (tmp_path, "is a directory"),
    ]:
        with pytest.raises(ConfigError, match=why) as caught:
            load_config(str(path))
        assert caught.value.lines[0].startswith(f"{path}: cannot be read")


def test_an_invalid_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a file path"):
        load_config("a\x00b")


def test_a_huge_file_is_refused_without_reading_all_of_it() -> None:
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        load_config("/dev/zero")


def test_a_given_path_takes_precedence_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").write_text("tick: 1")
    assert find_config("other.yml") == "other.yml"
    assert find_config(None) == "config.yml"


# Characters that break YAML parsers: escapes, unusual line ends, brackets, lone surrogates.
YAML_SIGNS = st.text(alphabet="abn0129:-_ \n\t'\"[]{}#&*!|>%@`,?~.\\\r\x85\u2028\ufeff\x00\ud800")
KEY_LINES = st.lists(
    st.tuples(st.sampled_from([*KEYS, "other", "<<"]), st.text(max_size=12) | YAML_SIGNS)
).map(lambda pairs: "\n".join(f"{key}: {value}" for key, value in pairs))


@given(st.text() | YAML_SIGNS | KEY_LINES)
@example("[" * 5000)
@example("web_port: " + "9" * 5000)
@example('hosts: ["\\ud800"]')
@example("a: " * 2000)
def test_any_text_is_accepted_or_refused_with_error_lines(text: str) -> None:
    try:
        assert isinstance(parse_config(text, "config.yml"), Config)
    except ConfigError as error:
        assert error.lines
        assert all(LINE.fullmatch(line) for line in error.lines), error.lines


@given(st.binary())
def test_any_bytes_are_accepted_or_refused_with_error_lines(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(data)
    try:
        assert isinstance(load_config(str(file)), Config)
    except ConfigError as error:
        assert all(line.startswith((f"{file}:", "... and")) for line in error.lines)
