"""What is accepted as a value in config.yml, and the words for what is not."""

import re
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from gpu_monitor.collector.settings import Commands
from gpu_monitor.wire.limits import MAX_TEXT, is_host_name

MAX_ENTRIES = 10_000

_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?")
_BASE_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]{1,253}|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_FOLDER = re.compile(r"/[^\x00-\x1f\x7f]{0,4000}")
_COMMAND = re.compile(r"\S+( \S+)*")
_DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]*)+")


Choice = TypeVar("Choice", bound=str)


class Wrong(ValueError):
    """A value that is refused; the words say what is wrong, and what to write instead.

    `entries` names the lines of a list's entries instead, where the value is a list.
    """

    def __init__(self, words: str, entries: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(words)
        self.entries = entries


class Word(NamedTuple):
    """A scalar of config.yml as it was written.

    `read_as` is what YAML takes it for, in words ("text", "a number", "true or false", ...);
    a quoted word is text whatever it holds.
    """

    text: str
    read_as: str
    line: int

    @property
    def shown(self) -> str:
        """The word as an error line may show it: short, on one line."""
        return repr(self.text) if len(self.text) <= 60 else repr(self.text[:57]) + "..."


Written: TypeAlias = "Word | Sequence[Word]"
"""What stands behind a key: one word, or a list of them."""


def whole(lowest: int, highest: int) -> Callable[[Written], int]:
    """A check for a whole number in that range."""

    def check(written: Written) -> int:
        word = _one(written, f"a whole number from {lowest} to {highest}")
        if word.read_as == "text" and _WHOLE.fullmatch(word.text):
            raise Wrong(f"{word.shown} is text; write {word.text} without quotes")
        if not _WHOLE.fullmatch(word.text):
            raise Wrong(
                f"{word.shown} is no whole number in plain digits; "
                f"write one from {lowest} to {highest}"
            )
        if not lowest <= int(word.text) <= highest:
            raise Wrong(f"{word.text} is out of range; write a number from {lowest} to {highest}")
        return int(word.text)

    return check


def seconds(lowest: float, highest: float) -> Callable[[Written], float]:
    """A check for a time in seconds in that range."""

    def check(written: Written) -> float:
        word = _one(written, f"seconds from {lowest:g} to {highest:.0f}")
        if word.read_as == "text" and _DECIMAL.fullmatch(word.text):
            raise Wrong(f"{word.shown} is text; write {word.text} without quotes")
        if not _DECIMAL.fullmatch(word.text):
            raise Wrong(
                f"{word.shown} is no number of seconds; "
                f"write one from {lowest:g} to {highest:.0f}, such as 2 or 0.5"
            )
        if not lowest <= float(word.text) <= highest:
            raise Wrong(
                f"{word.text} is out of range; write seconds from {lowest:g} to {highest:.0f}"
            )
        return float(word.text)

    return check


def address(written: Written) -> str:
    """An address of this machine to listen on; `*` stands for all of them."""
    word = _text(written, "an address of this machine, such as 127.0.0.1")
    text = "127.0.0.1" if word.text == "localhost" else word.text.removeprefix("[").rstrip("]")
    if text != "*" and not is_address(text):
        raise Wrong(
            f"{word.shown} is no address; write 127.0.0.1, 0.0.0.0 (all IPv4), "
            '"::1", "::" (all IPv6), "*" (all), or one address of this machine'
        )
    return text


def address_or_nothing(written: Written) -> str:
    """As `address`; an empty text leaves the choice to the broker."""
    return "" if isinstance(written, Word) and written.text == "" else address(written)


def host(written: Written) -> str:
    """The name or address of a machine."""
    word = _text(written, "the name or address of a machine")
    return _host(word)


def host_list(written: Written) -> tuple[str, ...]:
    """Names or addresses of machines; nothing behind the key is an empty list."""
    return _list(written, "host", "the name or address of a machine", _host)


def _list(
    written: Written,
    noun: str,
    wanted: str,
    check: Callable[[Word], str],
    fold: Callable[[str], str] = str.lower,
) -> tuple[str, ...]:
    """Entries, each as `check` takes it, that are distinct once they are folded."""
    if isinstance(written, Word):
        if written.read_as == "nothing":
            return ()
        raise Wrong(f"{written.shown} is no list; write one {noun} a line, each as '- name'")
    if len(written) > MAX_ENTRIES:
        raise Wrong(f"{len(written)} {noun}s are too many; write at most {MAX_ENTRIES}")
    seen: dict[str, int] = {}
    wrong: list[tuple[int, str]] = []
    for word in written:
        try:
            name = check(_text(word, wanted))
        except Wrong as error:
            wrong.append((word.line, str(error)))
            continue
        if first := seen.get(fold(name)):
            wrong.append((word.line, f"{name} stands in line {first} already; remove one of them"))
        seen.setdefault(fold(name), word.line)
    if wrong:
        raise Wrong("wrong entries", wrong)
    return tuple(word.text for word in written)


def own_name(written: Written) -> str:
    """A name for this machine; empty for the machine's own."""
    word = _text(written, "a name for this machine")
    if word.text and not is_host_name(word.text):
        raise Wrong(f"{word.shown} is no host name; write 1 to 253 of A-Z a-z 0-9 . _ -")
    return word.text


def base_path(written: Written) -> str:
    """The path in front of the page, without a closing slash; empty for none."""
    word = _text(written, "a path such as /gpus")
    path = word.text.rstrip("/")
    if path and not _BASE_PATH.fullmatch(path):
        raise Wrong(
            f"{word.shown} is no plain path; write one such as /gpus (A-Z a-z 0-9 . _ ~ - and /)"
        )
    return path


def choice(*choices: Choice) -> Callable[[Written], Choice]:
    """A check for one of these words, as written: YAML would take a bare `off` for false."""
    wanted = f"{', '.join(choices[:-1])} or {choices[-1]}"

    def check(written: Written) -> Choice:
        word = _one(written, wanted)
        for known in choices:
            if word.text == known:
                return known
        raise Wrong(f"{word.shown} is no choice here; write {wanted}")

    return check


commands: Callable[[Written], Commands] = choice("name", "scrubbed", "full", "off")
"""How much of a process's command line leaves its host."""


def file(written: Written) -> str:
    """The path of a file; empty for none."""
    word = _text(written, "the path of a file, such as viewers")
    if "\0" in word.text or word.text.endswith("/"):
        raise Wrong(f"{word.shown} is no path of a file; write one such as viewers")
    return word.text


def header(written: Written) -> str:
    """The name of an HTTP header."""
    word = _text(written, "the name of a header, such as X-Remote-User")
    if not _HEADER.fullmatch(word.text):
        raise Wrong(f"{word.shown} is no header; write a name such as X-Remote-User")
    return word.text


def networks(written: Written) -> tuple[str, ...]:
    """Addresses and networks, a line each."""
    return _list(written, "network", "an address or network, such as 10.0.0.0/24", _network)


def origins(written: Written) -> tuple[str, ...]:
    """Origins of web pages, a line each."""
    return _list(written, "origin", "an origin, such as https://wiki.example.org", _origin)


def commands_shown(written: Written) -> tuple[str, ...]:
    """Commands as the page shows them, a line each; other letters, another command."""
    return _list(written, "command", "a command, such as python serve.py", _command, fold=str)


def folder(written: Written) -> str:
    """The full path of a folder; empty for none."""
    word = _text(written, "the full path of a folder")
    if word.text and not _FOLDER.fullmatch(word.text):
        raise Wrong(f"{word.shown} is no full path; write one such as /etc/gpu-monitor/keys")
    return word.text.rstrip("/") or word.text


def unix_socket(written: Written) -> str:
    """The full path of a socket; empty for none."""
    word = _text(written, "the full path of a socket")
    if word.text and (not _FOLDER.fullmatch(word.text) or word.text.endswith("/")):
        raise Wrong(f"{word.shown} is no full path; write one such as /run/docker.sock")
    return word.text


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address in its usual form."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):  # ValueError: a NUL inside
            continue
        return True
    return False


def _one(written: Written, wanted: str) -> Word:
    if not isinstance(written, Word):
        raise Wrong(f"a list stands here; write {wanted}")
    if written.read_as == "nothing":
        raise Wrong(f"no value stands here; write {wanted}, or leave the key out")
    return written


def _text(written: Written, wanted: str) -> Word:
    word = _one(written, wanted)
    if word.read_as != "text":
        text = word.text[:60]
        raise Wrong(f'{text} is read as {word.read_as} by YAML; quote it: "{text}"')
    return word


def _network(word: Word) -> str:
    import ipaddress  # only here: a collector has no use for it

    try:
        ipaddress.ip_network(word.text)
    except ValueError:
        raise Wrong(
            f"{word.shown} is no address or network; write one such as 127.0.0.1 or 10.0.0.0/24"
        ) from None
    return word.text


def _origin(word: Word) -> str:
    if not _ORIGIN.fullmatch(word.text.lower()):
        raise Wrong(f"{word.shown} is no origin; write https://, name and port, without a path")
    return word.text


def _command(word: Word) -> str:
    text = word.text
    if not (len(text) <= MAX_TEXT and text.isprintable() and _COMMAND.fullmatch(text)):
        raise Wrong(
            f"{word.shown} is no command; write it as the page shows it, such as python serve.py"
        )
    return text


def _host(word: Word) -> str:
    text = word.text
    if "/" in text:
        raise Wrong(f"{word.shown} is no host; write the name alone, without http:// and path")
    if not is_host_name(text):
        raise Wrong(f"{word.shown} is no host; write 1 to 253 of A-Z a-z 0-9 . _ - or an address")
    if ":" in text and not is_address(text):
        raise Wrong(f"{word.shown} is no IPv6 address; write a host's name without a port")
    if _DOTTED_NUMBERS.fullmatch(text) and not is_address(text):
        raise Wrong(f"{word.shown} is no IPv4 address; write four numbers from 0 to 255")
    return text
