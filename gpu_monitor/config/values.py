"""Checks for the values in config.yml; a refusal says what is wrong and what to write."""

import re
import socket
from collections.abc import Callable
from typing import TypeVar

from gpu_monitor.collector.settings import Commands
from gpu_monitor.config.scalars import InvalidValue, Scalar, Written, distinct, single, single_text
from gpu_monitor.wire.limits import MAX_TEXT, is_host_name

_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?")
_BASE_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]{1,253}|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_FOLDER = re.compile(r"/[^\x00-\x1f\x7f]{0,4000}")
_COMMAND_LINE = re.compile(r"\S+( \S+)*")
_DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]*)+")


Choice = TypeVar("Choice", bound=str)


def whole(lowest: int, highest: int) -> Callable[[Written], int]:
    """Return a check for a whole number from `lowest` to `highest`."""

    def check(written: Written) -> int:
        scalar = single(written, f"a whole number from {lowest} to {highest}")
        if scalar.read_as == "text" and _WHOLE.fullmatch(scalar.text):
            raise InvalidValue(f"{scalar.shown} is text; write {scalar.text} without quotes")
        if not _WHOLE.fullmatch(scalar.text):
            raise InvalidValue(
                f"{scalar.shown} is not a whole number in plain digits; "
                f"write one from {lowest} to {highest}"
            )
        if not lowest <= int(scalar.text) <= highest:
            raise InvalidValue(
                f"{scalar.text} is out of range; write a number from {lowest} to {highest}"
            )
        return int(scalar.text)

    return check


def seconds(lowest: float, highest: float) -> Callable[[Written], float]:
    """Return a check for a duration from `lowest` to `highest` seconds."""

    def check(written: Written) -> float:
        scalar = single(written, f"seconds from {lowest:g} to {highest:.0f}")
        if scalar.read_as == "text" and _DECIMAL.fullmatch(scalar.text):
            raise InvalidValue(f"{scalar.shown} is text; write {scalar.text} without quotes")
        if not _DECIMAL.fullmatch(scalar.text):
            raise InvalidValue(
                f"{scalar.shown} is not a number of seconds; "
                f"write one from {lowest:g} to {highest:.0f}, such as 2 or 0.5"
            )
        if not lowest <= float(scalar.text) <= highest:
            raise InvalidValue(
                f"{scalar.text} is out of range; write seconds from {lowest:g} to {highest:.0f}"
            )
        return float(scalar.text)

    return check


def address(written: Written) -> str:
    """An address to listen on; `*` means all addresses of this machine."""
    scalar = single_text(written, "an address of this machine, such as 127.0.0.1")
    text = "127.0.0.1" if scalar.text == "localhost" else scalar.text.removeprefix("[").rstrip("]")
    if text != "*" and not is_address(text):
        raise InvalidValue(
            f"{scalar.shown} is not an address; write 127.0.0.1, 0.0.0.0 (all IPv4), "
            '"::1", "::" (all IPv6), "*" (all), or one address of this machine'
        )
    return text


def address_or_nothing(written: Written) -> str:
    """Like `address`, or empty: then the broker chooses."""
    return "" if isinstance(written, Scalar) and written.text == "" else address(written)


def host(written: Written) -> str:
    """A host name or IP address."""
    scalar = single_text(written, "the name or address of a machine")
    return _host(scalar)


def host_list(written: Written) -> tuple[str, ...]:
    """Host names or IP addresses; a key without a value is an empty list."""
    return distinct(written, "host", "the name or address of a machine", _host)


def own_name(written: Written) -> str:
    """A name for this machine, or empty: then its host name."""
    scalar = single_text(written, "a name for this machine")
    if scalar.text and not is_host_name(scalar.text):
        raise InvalidValue(
            f"{scalar.shown} is not a host name; use 1 to 253 characters of A-Z a-z 0-9 . _ -"
        )
    return scalar.text


def base_path(written: Written) -> str:
    """The path prefix of the page, returned without a trailing slash; may be empty."""
    scalar = single_text(written, "a path such as /gpus")
    path = scalar.text.rstrip("/")
    if path and not _BASE_PATH.fullmatch(path):
        raise InvalidValue(
            f"{scalar.shown} is not a plain path; "
            "write one such as /gpus (A-Z a-z 0-9 . _ ~ - and /)"
        )
    return path


def choice(*choices: Choice) -> Callable[[Written], Choice]:
    """Return a check for one of `choices`, as written: YAML reads a bare `off` as false."""
    wanted = f"{', '.join(choices[:-1])} or {choices[-1]}"

    def check(written: Written) -> Choice:
        scalar = single(written, wanted)
        for known in choices:
            if scalar.text == known:
                return known
        raise InvalidValue(f"{scalar.shown} is not a valid choice; write {wanted}")

    return check


commands: Callable[[Written], Commands] = choice("name", "scrubbed", "full", "off")


def file(written: Written) -> str:
    """A file path; may be empty."""
    scalar = single_text(written, "the path of a file, such as viewers")
    if "\0" in scalar.text or scalar.text.endswith("/"):
        raise InvalidValue(f"{scalar.shown} is not a file path; write one such as viewers")
    return scalar.text


def header(written: Written) -> str:
    """An HTTP header name."""
    scalar = single_text(written, "the name of a header, such as X-Remote-User")
    if not _HEADER.fullmatch(scalar.text):
        raise InvalidValue(f"{scalar.shown} is not a header name; write one such as X-Remote-User")
    return scalar.text


def networks(written: Written) -> tuple[str, ...]:
    """IP addresses and networks in CIDR notation."""
    return distinct(written, "network", "an address or network, such as 10.0.0.0/24", _network)


def origins(written: Written) -> tuple[str, ...]:
    """Web origins: scheme, host and optional port."""
    return distinct(written, "origin", "an origin, such as https://wiki.example.org", _origin)


def commands_shown(written: Written) -> tuple[str, ...]:
    """Commands as the page shows them; case matters."""
    return distinct(written, "command", "a command, such as python serve.py", _command, fold=str)


def folder(written: Written) -> str:
    """The absolute path of a folder; may be empty."""
    scalar = single_text(written, "the absolute path of a folder")
    if scalar.text and not _FOLDER.fullmatch(scalar.text):
        raise InvalidValue(
            f"{scalar.shown} is not an absolute path; write one such as /etc/gpu-monitor/keys"
        )
    return scalar.text.rstrip("/") or scalar.text


def unix_socket(written: Written) -> str:
    """The absolute path of a Unix socket; may be empty."""
    scalar = single_text(written, "the absolute path of a socket")
    if scalar.text and (not _FOLDER.fullmatch(scalar.text) or scalar.text.endswith("/")):
        raise InvalidValue(
            f"{scalar.shown} is not an absolute path; write one such as /run/docker.sock"
        )
    return scalar.text


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):  # ValueError: it contains a NUL
            continue
        return True
    return False


def _network(scalar: Scalar) -> str:
    import ipaddress  # not at the top: a collector does not need it

    try:
        ipaddress.ip_network(scalar.text)
    except ValueError:
        raise InvalidValue(
            f"{scalar.shown} is not an address or network; "
            "write one such as 127.0.0.1 or 10.0.0.0/24"
        ) from None
    return scalar.text


def _origin(scalar: Scalar) -> str:
    if not _ORIGIN.fullmatch(scalar.text.lower()):
        raise InvalidValue(
            f"{scalar.shown} is not an origin; write https://, name and port, without a path"
        )
    return scalar.text


def _command(scalar: Scalar) -> str:
    text = scalar.text
    if not (len(text) <= MAX_TEXT and text.isprintable() and _COMMAND_LINE.fullmatch(text)):
        raise InvalidValue(
            f"{scalar.shown} is not a command; "
            "write it as the page shows it, such as python serve.py"
        )
    return text


def _host(scalar: Scalar) -> str:
    text = scalar.text
    if "/" in text:
        raise InvalidValue(
            f"{scalar.shown} is not a host; write the name alone, without http:// or a path"
        )
    if not is_host_name(text):
        raise InvalidValue(
            f"{scalar.shown} is not a host; write an address, or a name of A-Z a-z 0-9 . _ -"
        )
    if ":" in text and not is_address(text):
        raise InvalidValue(
            f"{scalar.shown} is not an IPv6 address; write a host name without a port"
        )
    if _DOTTED_NUMBERS.fullmatch(text) and not is_address(text):
        raise InvalidValue(
            f"{scalar.shown} is not an IPv4 address; write four numbers from 0 to 255"
        )
    return text
