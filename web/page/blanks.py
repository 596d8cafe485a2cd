"""Scripts and styles without the blanks that no browser needs.

Of our own because rjsmin (1.3) takes the text of a template inside another's value for code, and
such templates are what the page's views are made of.
"""

import re

_INDENTS = re.compile(rb"^[ \t]*\n|^[ \t]+", re.MULTILINE)

_STRING = r"'(?:[^'\\\n]|\\.)*'" + r'|"(?:[^"\\\n]|\\.)*"'
_STYLE = re.compile(rf"({_STRING})|\s*([{{}};,])\s*|: +".encode())

_BEFORE_PATTERN = r"(?:(?<=[(,=:\[!&|?{;\n])|(?<=return))"
"""Elsewhere a slash divides."""
_TOKEN = re.compile(
    rf"(?P<comment>//[^\n]*)|(?P<kept>{_STRING}|/\*.*?\*/"
    rf"|{_BEFORE_PATTERN} ?/(?![/*])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*)"
    r"|(?P<blank> +)|(?P<mark>[`{}])|(?P<other>[^\s'\"`{}/]+|.)",
    re.DOTALL,
)
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(`|\$\{)", re.DOTALL)
_LOOSE = frozenset("{}()[]=<>,;:?&|*!")
"""Beside these no blank is needed; nor beside one plus or minus: two would be an increment."""
_GOES_ON = ("{", ";", ",", "(", "[", "?", ":", "&", "|", "=")
"""After these a line need not end; after others its end may be that of a statement."""
_ENDS = re.compile(r"[ \n]*[)}\]?:.&|,;=]")
"""Nor before these."""


def without_blanks(suffix: str, body: bytes) -> bytes:
    """`body` without indents, blanks and ends of lines that part nothing, comments behind code.

    Lines of a template lose their indents, which are one blank to HTML. A test compares every
    script of the page with the compiler's view of it.
    """
    if suffix == ".css":
        return _STYLE.sub(_tight, _INDENTS.sub(b"", body))
    if suffix == ".js":
        return _script(_INDENTS.sub(b"", body).decode()).encode()
    return body


def _tight(found: re.Match[bytes]) -> bytes:
    return found[1] or found[2] or b":"


def _script(text: str) -> str:
    """Reads the language as far as it takes to leave texts, templates and patterns alone."""
    left: list[str] = []
    braces: list[int] = []  # open ones of each template's value that we are in
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        assert token is not None  # any character is one
        at = token.end()
        if token["comment"]:
            continue
        if token["blank"]:
            before, after = left[-1][-1:] if left else "", text[at : at + 1]
            single = before != after and (before in "+-" or after in "+-")
            if before not in _LOOSE and after not in _LOOSE and not single:
                left.append(" ")
            continue
        last = left[-1] if left else ""
        if token[0] == "\n" and (last.endswith(_GOES_ON) or _ENDS.match(text, at)):
            continue
        if token["mark"] == "}" and last.endswith((";", ",")):
            left[-1] = last[:-1]
        left.append(token[0].removeprefix(" ") if left and left[-1] != "return" else token[0])
        if token["mark"] == "{" and braces:
            braces[-1] += 1
        elif token["mark"] == "}" and braces:
            braces[-1] -= 1
        if token["mark"] == "`" or (token["mark"] == "}" and braces and braces[-1] == 0):
            if token["mark"] == "}":
                braces.pop()
            part = _TEMPLATE.match(text, at)
            if part is None:
                break  # not closed: as it is
            left.append(part[0])
            at = part.end()
            if part[1] == "${":
                braces.append(1)
    return "".join(left) + text[at:]
