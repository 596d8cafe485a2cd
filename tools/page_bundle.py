"""Bundles the page with esbuild into a folder: python tools/page_bundle.py FOLDER

One minified script contains what every visit needs, another one each page that is loaded later; all
have source maps. The style sheet is minified, all other files are copied. It needs Node.js and
frontend/node_modules, which tools/setup test installs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
APP = ROOT / "frontend" / "app"
ESBUILD = ROOT / "frontend" / "node_modules" / ".bin" / "esbuild"
ENTRIES = ("app.js", "theme.js", "style.css")
OPTIONS = (
    "--bundle",
    "--minify",
    "--splitting",
    "--format=esm",
    "--target=es2022",
    "--charset=utf8",
    "--sourcemap",
    "--legal-comments=none",
    "--log-level=warning",
)
"""`--legal-comments=none`: each library's licence is a separate file beside it."""


def is_available() -> bool:
    """Whether Node.js and esbuild are installed."""
    return _node() is not None and ESBUILD.exists()


def write_bundle(to: Path) -> None:
    """Write the whole page to the folder `to`; CalledProcessError if esbuild fails."""
    node = _node()
    assert node is not None, "Node.js is missing: run tools/setup test"
    path = f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [str(ESBUILD), *(str(APP / name) for name in ENTRIES), f"--outdir={to}", *OPTIONS]
    subprocess.run(command, check=True, env=os.environ | {"PATH": path})
    for file in APP.rglob("*"):
        if file.is_file() and not file.name.endswith((".js", ".css", ".d.ts")):
            target = to / file.relative_to(APP)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)


def _node() -> str | None:
    """The Node.js that tools/setup has linked in .venv, else the one in PATH."""
    folders = (str(ROOT / ".venv" / "bin"), os.environ.get("PATH", ""))
    return shutil.which("node", path=os.pathsep.join(folders))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    if not is_available():
        print("page_bundle: Node.js or frontend/node_modules is missing", file=sys.stderr)
        return 1
    try:
        write_bundle(Path(arguments[0]))
    except subprocess.CalledProcessError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
