"""The page's files, read into memory once; each is named by a hash of them all and kept for a year.

In a checkout these are the modules as written; a released wheel has them bundled (tools/bundle.py).
"""

import hashlib
import posixpath
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "frontend" / "app"

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/plain",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_PACKED = frozenset({".ico", ".png", ".woff2"})
_GZIP = 31
"""zlib's wbits for the gzip format with the largest window."""
_PLACEHOLDER = "a/dev/"
_ENTRY = re.compile(r'^( *)<script type="module" src="a/dev/([^"]+)"></script>$', re.MULTILINE)
_STATIC_IMPORT = re.compile(
    r"""(?:^|;)(?:import|export)\b[^"'();]*["'](\.\.?/[^"']+)["']""", re.MULTILINE
)
"""Not `import(…)`: what a page loads later is not preloaded."""


@dataclass(frozen=True)
class Asset:
    """One file; `gzipped` is None where that would not be smaller. `tag` is its ETag."""

    body: bytes
    gzipped: bytes | None
    content_type: str
    tag: str


class Assets:
    """The files below `folder` by their path in it, as they were when this was made.

    `hash` covers all names and contents. index.html gets a modulepreload link for every module
    that its script imports, so that none waits for another; there `a/dev/` becomes `a/<hash>/`,
    which relative imports inherit, so that a browser keeps a file until any of them changes.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        bodies = dict(_read(folder))
        digest = hashlib.sha256()
        for name, body in bodies.items():
            digest.update(b"%d %s %d " % (len(name), name.encode(), len(body)) + body)
        self.hash = digest.hexdigest()[:12]
        if "index.html" in bodies:
            index = with_preloads(bodies["index.html"].decode(), bodies)
            bodies["index.html"] = index.replace(_PLACEHOLDER, f"a/{self.hash}/").encode()
        self._files = {name: _asset(name, body) for name, body in bodies.items()}

    def get(self, name: str) -> Asset | None:
        """The file of that path, or None."""
        return self._files.get(name)


def static_imports(entry: str, files: dict[str, bytes]) -> list[str]:
    """All modules that `entry` needs before it can run, without itself, nearest first."""
    found = [entry]
    for name in found:  # grows meanwhile
        for target in _STATIC_IMPORT.findall(files[name].decode()):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if path in files and path not in found:
                found.append(path)
    return found[1:]


def with_preloads(index: str, files: dict[str, bytes]) -> str:
    """The page with a modulepreload link for each static import of its module scripts."""

    def preload(script: re.Match[str]) -> str:
        indent, entry = script[1], script[2]
        imports = static_imports(entry, files) if entry in files else []
        links = [f'{indent}<link rel="modulepreload" href="a/dev/{name}">' for name in imports]
        return "\n".join([*links, script[0]])

    return _ENTRY.sub(preload, index)


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents, sorted; no links, nothing hidden or in a hidden folder."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and path.is_file() and not path.is_symlink():
            yield name.as_posix(), path.read_bytes()


def _asset(name: str, body: bytes) -> Asset:
    suffix = Path(name).suffix
    gzipped = None
    if suffix not in _PACKED:
        packer = zlib.compressobj(level=9, wbits=_GZIP, memLevel=9)
        packed = packer.compress(body) + packer.flush()
        gzipped = packed if len(packed) < len(body) else None
    content_type = _TYPES.get(suffix, "application/octet-stream")
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return Asset(body, gzipped, content_type, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"')
