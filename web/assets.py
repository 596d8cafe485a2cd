"""The page's files, read into memory; each is named by a hash of them all and kept for a year."""

import hashlib
import logging
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from .blanks import without_blanks
from .bundle import BundleError, bundle
from .comments import without_comments

LOG = logging.getLogger(__name__)

FOLDER = Path(__file__).parent.parent / "frontend" / "app"

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
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
"""As zlib writes gzip, with all of its window (wbits)."""
_ENTRY = "app.js"
_PLACEHOLDER = b"a/dev/"


@dataclass(frozen=True)
class Asset:
    """One file; `gzipped` is None where that would not be smaller. `tag` is its ETag."""

    body: bytes
    gzipped: bytes | None
    content_type: str
    tag: str


class Assets:
    """The files below `folder`, by their path in it; nothing else can be asked for.

    Our own scripts and styles are sent without comments and spare blanks, and app.js with all
    that it imports; `vendor/` is sent as published.

    `hash` is made of all names and contents. In index.html `a/dev/` is replaced by `a/<hash>/`,
    and relative imports inherit it, so that a browser keeps a file until any of them changes.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[int, int]] = {}
        self._files: dict[str, Asset] = {}
        self.hash = ""
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if one has changed since; True if so. A few stat calls."""
        paths = {path.relative_to(self._folder).as_posix(): path for path in self._regular_files()}
        seen = {name: _stamp(path) for name, path in paths.items()}
        if seen == self._seen and self.hash:
            return False
        bodies = {name: paths[name].read_bytes() for name in sorted(paths)}
        digest = hashlib.sha256()
        for name, body in bodies.items():
            digest.update(b"%d %s %d " % (len(name), name.encode(), len(body)) + body)
        self._seen, self.hash = seen, digest.hexdigest()[:12]
        if "index.html" in bodies:
            named = b"a/" + self.hash.encode() + b"/"
            bodies["index.html"] = bodies["index.html"].replace(_PLACEHOLDER, named)
        plain = {name: _plain(name, body) for name, body in bodies.items()}
        short = {name: _shorter(name, body) for name, body in _bundled(plain).items()}
        self._files = {name: _asset(name, body) for name, body in short.items()}
        return True

    def bytes_sent(self) -> int:
        """What a browser loads for the whole page, compressed; for those who watch its weight."""
        loaded: dict[str, int] = {}
        waiting = ["index.html"]
        while waiting:
            name = waiting.pop()
            if name not in loaded:
                asset = self._files[name]
                loaded[name] = len(asset.gzipped or asset.body)
                waiting += _names_in(name, asset.body.decode())
        return sum(loaded.values())

    def get(self, name: str) -> Asset | None:
        """The file of that path, or None."""
        return self._files.get(name)

    def _regular_files(self) -> list[Path]:
        """Files that are no links, nor hidden, nor in a hidden folder."""
        found = []
        for path in self._folder.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(self._folder).parts)
            if not hidden and path.is_file() and not path.is_symlink():
                found.append(path)
        return found


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _plain(name: str, body: bytes) -> bytes:
    return body if name.startswith("vendor/") else without_comments(Path(name).suffix, body)


def _shorter(name: str, body: bytes) -> bytes:
    return body if name.startswith("vendor/") else without_blanks(Path(name).suffix, body)


def _bundled(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with all modules in app.js; as they are, which works too, where that fails."""
    if _ENTRY not in files:
        return files
    try:
        sources = {name: files[name].decode() for name in files if name.endswith(".js")}
        return files | {_ENTRY: bundle(_ENTRY, sources).encode()}
    except (BundleError, UnicodeDecodeError) as error:
        LOG.warning("the page's modules are sent one by one: %s", error)
        return files


def _names_in(name: str, text: str) -> list[str]:
    """The files that a page or a script loads."""
    if name.endswith(".html"):
        return re.findall(r'(?:src|href)="a/[^/"]+/([^"]+)"', text)
    folder = Path(name).parent
    return [
        os.path.normpath(folder / target)
        for target in re.findall(r'(?:^|;)import\b[^"]*\bfrom ?"(\.[^"]+)";', text, re.MULTILINE)
    ]


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
