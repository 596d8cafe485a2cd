"""Values as written in config.yml, single or in lists, before their meaning is checked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

MAX_ENTRIES = 10_000


class InvalidValue(ValueError):
    """A key or value is refused; the message says why, and what to write instead.

    For a list, `entries` holds the line and message of each refused entry.
    """

    def __init__(self, message: str, entries: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(message)
        self.entries = entries


class Scalar(NamedTuple):
    """A single value as written in config.yml.

    `read_as` describes the type YAML gives it ("text", "a number", "true or false", ...). Quoted
    values are always text.
    """

    text: str
    read_as: str
    line: int

    @property
    def shown(self) -> str:
        """The value for an error message: quoted, shortened, on one line."""
        return repr(self.text) if len(self.text) <= 60 else repr(self.text[:57]) + "..."


Written: TypeAlias = "Scalar | Sequence[Scalar]"
"""The value of a key as written: a single value or a list."""


def single(written: Written, wanted: str) -> Scalar:
    """The only value of a key; `wanted` describes it in error messages."""
    if not isinstance(written, Scalar):
        raise InvalidValue(f"a list is not allowed here; write {wanted}")
    if written.read_as == "nothing":
        raise InvalidValue(f"the value is missing; write {wanted}, or remove the line")
    return written


def single_text(written: Written, wanted: str) -> Scalar:
    """Like `single`, for a value that YAML reads as text."""
    scalar = single(written, wanted)
    if scalar.read_as != "text":
        short = scalar.text[:60]
        raise InvalidValue(f'YAML reads {short} as {scalar.read_as}; quote it: "{short}"')
    return scalar


def distinct(
    written: Written,
    noun: str,
    wanted: str,
    check: Callable[[Scalar], str],
    fold: Callable[[str], str] = str.lower,
) -> tuple[str, ...]:
    """The entries of a list, each checked, and no two of them equal after `fold`.

    `noun` and `wanted` describe an entry in error messages.
    """
    if isinstance(written, Scalar):
        if written.read_as == "nothing":
            return ()
        raise InvalidValue(
            f"{written.shown} is not a list; write one {noun} per line, each as '- name'"
        )
    if len(written) > MAX_ENTRIES:
        raise InvalidValue(f"{len(written)} {noun}s are too many; list at most {MAX_ENTRIES}")
    seen: dict[str, int] = {}
    invalid: list[tuple[int, str]] = []
    for scalar in written:
        try:
            name = check(single_text(scalar, wanted))
        except InvalidValue as error:
            invalid.append((scalar.line, str(error)))
            continue
        if first := seen.get(fold(name)):
            invalid.append(
                (scalar.line, f"duplicate {noun} {name} (first on line {first}); remove one")
            )
        seen.setdefault(fold(name), scalar.line)
    if invalid:
        raise InvalidValue("invalid entries", invalid)
    return tuple(scalar.text for scalar in written)
