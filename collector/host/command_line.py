"""Command lines reduced to what may leave the host, by the configured level of privacy."""

import re
import shlex
from collections.abc import Iterator, Sequence

from gpu_monitor.collector.settings import Commands

HIDDEN = "***"
MAX_CHARACTERS = 200
MAX_CHARACTERS_FULL = 1000
_MAX_READ = 4096
"""Characters of a command line that are read; a hostile one has megabytes."""

_INTERPRETER = re.compile(r"(python|pypy|perl|ruby|node|julia|Rscript|(ba|da|z|k)?sh)[\d.]*w?")
_OPTIONS_WITH_VALUE = {"-W", "-X", "-r", "--require", "--check-hash-based-pycs"}
_SAFE_NAME = re.compile(r"[\w.@+:\[\]-]+")

# fmt: off
_SECRET_WORDS = frozenset(
    {
        "pass", "passwd", "password", "passphrase", "pwd", "pw", "pin", "token", "secret",
        "secrets", "auth", "authorization", "bearer", "credential", "credentials", "creds",
        "cookie", "apikey", "accesskey", "secretkey", "authkey", "authtoken", "accesstoken",
        "privatekey", "signature", "sig", "sas", "dsn", "otp", "jwt", "pat", "psk",
    }
)
# fmt: on
_LAST_WORDS = frozenset({"key", "connection", "connectionstring", "netrc", "login"})
"""Words that mean a secret only at the end of a name: api_key, but not key_dim."""

_WITHIN = re.compile(r"password|passwd|passphrase|secret|credential|apikey|token$", re.IGNORECASE)
"""Words that mean a secret even inside another word, as in PGPASSWORD."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PAIR = re.compile(
    r"""(?<![\w.-])(?P<name>[A-Za-z_][\w.-]*)["']?\s*(?P<sign>=|:(?!//))\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|(?:(?:Bearer|Basic|Token)\s+)?[^\s"'&,;}]+)"""
)
_SHORT_OPTIONS = {
    "curl": "-u",
    "wget": "-u",
    "sshpass": "-p",
    "mysql": "-p",
    "mysqldump": "-p",
    "mysqladmin": "-p",
    "mariadb": "-p",
    "docker": "-p",
    "podman": "-p",
    "redis-cli": "-a",
    "mongo": "-p",
    "mongosh": "-p",
    "ldapsearch": "-w",
    "smbclient": "-U",
    "7z": "-p",
    "zip": "-P",
    "unzip": "-P",
}
"""Programs with a one-letter option for a secret, which is attached or the next argument."""

_SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{16,}|(?:sk|pk|rk)_(?:live|test)_\w+"  # OpenAI, Stripe
    r"|(?:hf|gsk|r8|npm|secret|gh[opusr]|lin_api|dop_v1)_[A-Za-z0-9]{16,}"
    r"|(?:github_pat|dckr_pat)_[\w-]{8,}|(?:xai|pypi)-\w{16,}|key-[0-9a-f]{16,}"
    r"|(?:nvapi|xox[a-z]|xapp|tskey|gl(?:pat|ptt|rt|dt|ft|cbt|soat|agent))-[\w-]{8,}"
    r"|(?:SG|ya29|hv[sb]|eyJ[\w-]{4,})\.[\w.-]{8,}|AIza[\w-]{20,}|1//0[\w-]{20,}"
    r"|A(?:KIA|SIA|ROA|IDA)[0-9A-Z]{12,}|AGE-SECRET-KEY-\w+|dapi[0-9a-f]{16,}"
    r"|[0-9a-fA-F]{32,}(?![0-9A-Za-z]))|-----BEGIN[^-]*PRIVATE KEY-----.*",
    re.DOTALL,
)
_DENSE = re.compile(r"(?<![\w/.])[A-Za-z0-9+=]{32,}")
_MIXED = tuple(map(re.compile, ("[0-9]", "[a-z]", "[A-Z]")))
_URL_LOGIN = re.compile(r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]*://)[^/\s@]*@")
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic|Negotiate)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_NAMED = r"(?:(?:/[\w.-]+)*/home/[^/\s:'\"]+)"
_HOME = re.compile(
    rf"(?:(?<![/\w.-])|(?<=/)(?=/))(?P<before>[\w.-]*){_NAMED}+"
    rf"|/Users/[^/\s:'\"]+{_NAMED}*|(?<![\w.-])/root(?=/|\s|$)"
)
"""Matches from the start of a run of such characters, not from each slash, so that it is fast."""


def describe(argv: Sequence[str], level: Commands) -> str | None:
    """What may be shown of the command `argv`; None at level `off` or without a command.

    `name`: the program and the script or module it runs. `scrubbed`: the whole line without
    anything that looks like a secret, with `~` for home folders. `full`: the whole line. At every
    level it is one line of printable characters, cut in length.
    """
    if level == "off" or not argv:
        return None
    if level == "full":
        return clean(" ".join(argv), MAX_CHARACTERS_FULL)
    words = _within_limit(argv)
    if len(words) == 1 and " " in words[0]:  # a process that renamed itself holds one long text
        words = words[0].split() or [""]
    if level == "name":
        return clean(_scrub_text(" ".join(_program(words))), MAX_CHARACTERS) or None
    return clean(" ".join(_scrub(words)), MAX_CHARACTERS) or None


def clean(text: str, limit: int = MAX_CHARACTERS) -> str:
    """`text` on one line, without control, bidi and zero-width characters, cut to `limit`."""
    text = text[: 4 * limit]
    if not text.isprintable():
        spaced = (" " if sign.isspace() else sign for sign in text)
        text = "".join(sign for sign in spaced if sign.isprintable())
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _within_limit(argv: Sequence[str]) -> list[str]:
    """The arguments that fit as a whole: half a secret might not look like one."""
    words, left = [argv[0][:_MAX_READ]], _MAX_READ - len(argv[0])
    for word in argv[1:]:
        left -= len(word)
        if left < 0:
            break
        words.append(word)
    return words


def _program(words: list[str]) -> Iterator[str]:
    """The program's name and, for an interpreter, the name of what it runs."""
    program = words[0].lstrip("-").rsplit("/", 1)[-1]
    yield program
    if not _INTERPRETER.fullmatch(program):
        return
    rest = iter(words[1:])
    for word in rest:
        if word in ("-m", "-c", "-e"):
            module = next(rest, "")
            yield f"-m {module}" if word == "-m" and _SAFE_NAME.fullmatch(module) else word
            return
        if word in _OPTIONS_WITH_VALUE or _is_secrets_option(word):
            next(rest, None)
        elif not word.startswith("-"):
            script = word.rsplit("/", 1)[-1]
            if _SAFE_NAME.fullmatch(script):
                yield script
            return


def _scrub(words: Sequence[str], depth: int = 3) -> Iterator[str]:
    short = _SHORT_OPTIONS.get(words[0].rsplit("/", 1)[-1]) if words else None
    hide_next = False
    for word in words:
        if hide_next and not (word.startswith("-") and len(word) > 1 and not word[1].isdigit()):
            hide_next = False
            yield HIDDEN
            continue
        hide_next = word.lower() in ("bearer", "basic") or word == short
        name, sign, _ = word.partition("=")
        if short and word.startswith(short) and len(word) > len(short):
            yield short + HIDDEN
        elif sign and _is_secret(name):
            yield f"{name}={HIDDEN}"
        elif _is_secrets_option(word):
            hide_next = True
            yield word
        elif depth and any(sign.isspace() for sign in word):
            yield _scrub_text(" ".join(_scrub(_split(_scrub_text(word)), depth - 1)))
        else:
            yield _scrub_text(word)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an open quote
        return text.split()


def _is_secrets_option(word: str) -> bool:
    """Whether the next argument is a secret."""
    return word.startswith("-") and "=" not in word and _is_secret(word)


def _is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if not _SECRET_WORDS.isdisjoint(words) or words[-1] in _LAST_WORDS:
        return True
    return _WITHIN.search(name) is not None


def _scrub_text(text: str) -> str:
    text = _URL_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PAIR.sub(_hide_pair, text)
    text = _BEARER.sub(rf"\g<kind> {HIDDEN}", text)
    text = _SECRETS.sub(HIDDEN, text)
    text = _DENSE.sub(_hide_mixed, text)
    return _HOME.sub(r"\g<before>~", text)


def _hide_mixed(match: re.Match[str]) -> str:
    """Hide a long run if digits, lower-case and upper-case letters follow up to the word's end."""
    word = match.string[match.start() :].split(None, 1)[0]
    return HIDDEN if all(kind.search(word) for kind in _MIXED) else match[0]


def _hide_pair(match: re.Match[str]) -> str:
    if not _is_secret(match["name"]):
        return match[0]
    return match[0][: match.start("value") - match.start()] + HIDDEN
