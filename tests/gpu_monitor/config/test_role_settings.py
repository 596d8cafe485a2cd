"""How the keys of config.yml become the settings of each role."""

import os
from pathlib import Path

import pytest

from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config
from gpu_monitor.config.role_settings import (
    RPC_INPROC,
    UPDATES_INPROC,
    broker_settings,
    collector_settings,
    link_warnings,
    own_name,
    page_warnings,
    rpc_address,
    web_settings,
)
from gpu_monitor.web.settings import Mode
from gpu_monitor.wire.limits import is_host_name
from tests.support.key_folders import KeyFolders

OTHERS = ("node1", "node2")


def test_by_default_nothing_leaves_this_machine() -> None:
    config = Config()
    assert collector_settings(config).endpoint == "tcp://127.0.0.1:8043"
    assert broker_settings(config).rpc_endpoints == ("tcp://127.0.0.1:8043",)
    assert broker_settings(config).updates_endpoints == ("tcp://127.0.0.1:8044",)
    assert web_settings(config).updates_endpoint == "tcp://127.0.0.1:8044"
    assert web_settings(config).web_bind == "127.0.0.1"
    assert broker_settings(config).warnings == web_settings(config).warnings == ()


def test_the_broker_opens_up_when_another_machine_is_expected() -> None:
    settings = broker_settings(Config(hosts=OTHERS))
    assert settings.rpc_endpoints == ("tcp://*:8043",)
    assert settings.hosts == OTHERS


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.0.1.1", "::1", os.uname().nodename, "LocalHost"]
)
def test_a_list_of_this_machine_alone_keeps_the_broker_on_loopback(host: str) -> None:
    assert rpc_address(Config(hosts=(host,))) == "127.0.0.1"


def test_rpc_bind_overrides_the_default_address() -> None:
    assert rpc_address(Config(hosts=OTHERS, rpc_bind="10.0.0.1")) == "10.0.0.1"
    assert rpc_address(Config(rpc_bind="*")) == "*"


def test_in_one_process_the_inproc_endpoints_come_first() -> None:
    settings = broker_settings(Config(), one_process=True)
    assert settings.rpc_endpoints[0] == RPC_INPROC
    assert settings.updates_endpoints[0] == UPDATES_INPROC


def test_an_ipv6_address_is_bracketed_and_port_0_is_any_port() -> None:
    config = Config(broker="fd00::1", updates_bind="::1", updates_port=0)
    assert collector_settings(config).endpoint == "tcp://[fd00::1]:8043"
    assert broker_settings(config).updates_endpoints == ("tcp://[::1]:*",)


def test_port_0_is_refused_for_a_role_in_its_own_process() -> None:
    config = Config(rpc_port=0, updates_port=0)
    with pytest.raises(ConfigError, match="rpc_port: 0"):
        collector_settings(config)
    with pytest.raises(ConfigError, match="updates_port: 0"):
        web_settings(config)
    assert collector_settings(config, RPC_INPROC).endpoint == RPC_INPROC


def test_every_open_port_without_keys_causes_a_warning() -> None:
    assert list(link_warnings(Config())) == []
    warnings = list(link_warnings(Config(hosts=OTHERS, updates_bind="0.0.0.0")))
    assert len(warnings) == 2
    assert "rpc_port 8043 is open on all interfaces without keys" in warnings[0]
    assert "updates_port 8044 is open on all interfaces without keys" in warnings[1]


def test_with_keys_ports_are_open_without_a_warning(tmp_path: Path) -> None:
    folders = KeyFolders(tmp_path)
    config = Config(keys=folders.broker, updates_bind="*")
    assert list(link_warnings(config)) == []
    assert broker_settings(config).rpc_endpoints == ("tcp://*:8043",)
    assert broker_settings(config).keys == folders.broker
    assert rpc_address(Config(keys=folders.broker, rpc_bind="127.0.0.1")) == "127.0.0.1"


def test_keys_are_not_used_within_one_process(tmp_path: Path) -> None:
    config = Config(keys=KeyFolders(tmp_path).host("node1"))
    assert collector_settings(config).keys == web_settings(config).keys == config.keys
    assert collector_settings(config, RPC_INPROC).keys == ""
    assert web_settings(config, UPDATES_INPROC).keys == ""


def test_unusable_keys_are_refused_at_the_start(tmp_path: Path) -> None:
    config = Config(keys=str(tmp_path / "none"))
    for settings in (collector_settings, web_settings, broker_settings):
        with pytest.raises(ConfigError, match="none: is missing; make it with gpu-monitor keys"):
            settings(config)


def test_the_role_that_opens_a_port_warns_about_it() -> None:
    config = Config(web_bind="10.0.0.1", hosts=OTHERS)
    (words,) = page_warnings(config)
    assert words == "anyone who can reach port 8042 on 10.0.0.1 can read the page"
    assert web_settings(config).warnings == (words,)
    assert broker_settings(config).warnings == tuple(link_warnings(config))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("token", "tokens are sent unencrypted to port 8042 on all interfaces; let only a proxy"),
        ("basic", "passwords are sent unencrypted to port 8042 on all interfaces; let only"),
        ("proxy", "the names of viewers and what they see are sent unencrypted to port 8042"),
    ],
)
def test_an_open_page_with_sign_in_warns_about_unencrypted_data(mode: Mode, words: str) -> None:
    (warning,) = page_warnings(Config(web_bind="*", sign_in=mode))
    assert warning.startswith(words)
    assert list(page_warnings(Config(sign_in=mode))) == []


def test_sign_in_settings_reach_the_web_server() -> None:
    config = Config(
        sign_in="proxy",
        viewers="/etc/viewers",
        viewer_role="counts",
        user_header="X-User",
        trusted_proxies=("10.0.0.1",),
        allowed_origins=("https://a",),
    )
    web = web_settings(config)
    assert (web.sign_in, web.viewers, web.viewer_role) == ("proxy", "/etc/viewers", "counts")
    assert (web.user_header, web.trusted_proxies) == ("X-User", ("10.0.0.1",))
    assert web.allowed_origins == ("https://a",)


def test_names_in_config_yml_are_allowed_hosts_of_the_page() -> None:
    named = Config(name="lab", broker="head.example", web_hosts=("gpus.example", "head.example"))
    assert web_settings(named).web_hosts == ("lab", "head.example", "gpus.example")
    assert web_settings(Config()).web_hosts == ()


def test_activity_is_kept_in_the_runtime_directory_of_systemd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert collector_settings(Config()).state_folder is None
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/gpu-monitor:/run/other")
    assert collector_settings(Config()).state_folder == "/run/gpu-monitor"


def test_every_key_reaches_the_settings_of_its_role() -> None:
    config = Config(
        interval=3.0,
        rpc_timeout=7.0,
        tick=0.25,
        commands="off",
        container_socket="/run/docker.sock",
        name="lab",
        free_memory_mib=100,
        held_idle_after=60.0,
        never_idle=("python serve.py",),
        forget_after=120.0,
        base_path="/gpus",
        web_bind="*",
    )
    collector, broker, web = (
        collector_settings(config),
        broker_settings(config),
        web_settings(config),
    )
    assert (collector.name, collector.commands, collector.interval) == ("lab", "off", 3.0)
    assert collector.container_socket == "/run/docker.sock"
    assert (broker.own_name, broker.tick, broker.rpc_timeout) == ("lab", 0.25, 7.0)
    assert (broker.free_memory_mib, broker.held_idle_after) == (100, 60.0)
    assert broker.never_idle == ("python serve.py",)
    assert (broker.forget_after, broker.interval) == (120.0, 3.0)
    assert (web.base_path, web.web_bind, web.rpc_timeout) == ("/gpus", "", 7.0)


def test_the_name_of_this_machine_is_a_valid_host_name() -> None:
    assert is_host_name(own_name())
