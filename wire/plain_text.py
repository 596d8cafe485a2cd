"""A stranger's text as one line that shows every character, in the order in which it was written.

Who may run a process chooses its command and its container's name, and a host sends what it
likes. A line break would forge a line of another host in a log or a list, an escape sequence would
drive the terminal that shows it, and a bidirectional override would show a name backwards.
"""

import re

from gpu_monitor.wire.document import Column

SUBSTITUTE = "\N{REPLACEMENT CHARACTER}"
_REFUSED = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1 controls, with every line break of ASCII and Latin-1
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Bidi_Control (Unicode UAX #9)
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff"  # invisible: alice and alice would differ
    "\ufff9-\ufffb\U000e0000-\U000e0fff"  # annotations, tags and other invisible ones
    "]"
)


def plain_text(text: str) -> str:
    """`text` of the same length, with a U+FFFD in place of each character that is not plain.

    The joiners U+200C and U+200D stay: Persian and emoji need them.
    """
    return text if text.isprintable() else _REFUSED.sub(SUBSTITUTE, text)


def plain_column(column: Column) -> Column:
    """A column of texts and None, each as `plain_text` has it; the same object if all are plain."""
    if "".join(filter(None, column)).isprintable():
        return column
    return [None if text is None else plain_text(text) for text in column]


def plain_words(column: Column) -> Column:
    """A column of lists of texts and None; the same for each of the texts."""
    return [None if words is None else plain_column(words) for words in column]
