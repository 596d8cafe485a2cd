"""Scripts and styles without comments, which no browser needs."""

import re

_COMMENT = rb"/\*(?:(?!\*/).)*\*/"
"""Up to the first end, so that no code between two comments can be taken for one."""

_CASTS = re.compile(rb"/\*\* @type \{[^\n]*?\} \*/ ?")
_WHOLE_LINES = {
    ".css": re.compile(rb"^[ \t]*" + _COMMENT + rb"[ \t]*$", re.DOTALL | re.MULTILINE),
    ".js": re.compile(rb"^[ \t]*(?://[^\n]*|" + _COMMENT + rb"[ \t]*)$", re.DOTALL | re.MULTILINE),
}


def without_comments(suffix: str, body: bytes) -> bytes:
    """`body` without whole lines of comment and types of expressions.

    As it is where `suffix` is of no script or style. It does not read the language: a line of a
    template literal that starts like a comment would go too. A test compares every script of the
    page with the compiler's view of it.
    """
    pattern = _WHOLE_LINES.get(suffix)
    if pattern is None:
        return body
    body = pattern.sub(b"", body)
    return _CASTS.sub(b"", body) if suffix == ".js" else body
