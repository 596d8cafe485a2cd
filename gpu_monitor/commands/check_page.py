"""Whether the page can be served here, under which names, and to whom."""

import os
from collections.abc import Iterator

from gpu_monitor.commands import probe
from gpu_monitor.commands.check_broker import check_port
from gpu_monitor.commands.report_line import ReportLine, Surroundings, listed, warnings
from gpu_monitor.config import role_settings
from gpu_monitor.config.keys import Config
from gpu_monitor.web.auth import accounts
from gpu_monitor.web.auth.allowed_hosts import own_names
from gpu_monitor.web.auth.hashing import kind_of
from gpu_monitor.web.auth.person import Person

MAX_VIEWERS_NAMED = 5
SECRET_KINDS = {"token": "token", "basic": "password"}
"""By mode of sign_in, the kind of secret that a viewer needs."""


def report_lines(around: Surroundings) -> Iterator[ReportLine]:
    """The page's port, its host names where they matter, and its viewers."""
    config = around.config
    yield _check_port(config, around.patience_seconds)
    if config.sign_in in ("none", "proxy"):
        yield _allowed_hosts(config, around.patience_seconds)
    yield from warnings("web", role_settings.page_warnings(config))
    yield from check_sign_in(config)


def check_sign_in(config: Config) -> Iterator[ReportLine]:
    """Who sees what, and whether every viewer can sign in."""
    mode = config.sign_in
    if mode == "none":
        yield ReportLine(True, f"sign_in: none, everyone sees {config.viewer_role}")
    elif not config.viewers:
        yield ReportLine(True, f"sign_in: proxy, everyone it names sees {config.viewer_role}")
    elif _is_needed_elsewhere(config):
        text = f"{config.viewers} is missing here, but needed only where the page is served"
        yield ReportLine(True, f"sign_in: {mode}; {text}")
    else:
        yield from _check_viewers(config)


def _is_needed_elsewhere(config: Config) -> bool:
    others = role_settings.names_another_machine((config.broker, *config.hosts))
    return others and not os.path.exists(config.viewers)


def _check_viewers(config: Config) -> Iterator[ReportLine]:
    try:
        people, errors = accounts.parse(accounts.read(config.viewers))
    except accounts.AccountsError as error:
        yield ReportLine(False, f"viewers: {error}")
        return
    for line in errors:
        yield ReportLine(False, f"viewers: {config.viewers}: {line}")
    kind = SECRET_KINDS.get(config.sign_in)
    able = [person for person in people if kind is None or kind_of(person.secret) == kind]
    unable = sorted(_names(people) - _names(able))
    if unable:
        named = listed(unable, MAX_VIEWERS_NAMED)
        yield ReportLine(False, f"viewers: no {kind} for {named}; remove and add them again")
    remedy = "" if able else "; run gpu-monitor viewers add NAME"
    yield ReportLine(bool(able), f"sign_in: {config.sign_in}, {len(able)} can sign in{remedy}")


def _names(people: list[Person]) -> set[str]:
    return {person.name for person in people}


def _allowed_hosts(config: Config, patience_seconds: float) -> ReportLine:
    names = {*own_names(), probe.full_name(patience_seconds), *role_settings.web_hosts(config)}
    listed = ", ".join(sorted(names))
    return ReportLine(
        True, f"web: opens under any address and as {listed}; add others to web_hosts"
    )


def _check_port(config: Config, patience_seconds: float) -> ReportLine:
    address = "127.0.0.1" if config.web_bind in ("*", "0.0.0.0") else config.web_bind
    is_taken = probe.why_not_bindable(config.web_bind, config.web_port)
    if is_taken and probe.is_our_page(address, config.web_port, patience_seconds):
        return ReportLine(True, f"web: serving the page on port {config.web_port}")
    return check_port("web", config.web_bind, config.web_port, "web_port")
