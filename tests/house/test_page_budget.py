"""The bundled page: its compressed size stays within budget, its style sheet keeps its layers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_monitor.web.page.assets import Assets, static_imports
from tests.support.house import ROOT

LIVE_BYTES = 50_000
LAZY_BYTES = 60_000
DYNAMIC_IMPORT = re.compile(r"""\bimport\(\s*["'`]\./([^"'`]+)["'`]""")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, processes: None) -> dict[str, bytes]:
    """The contents of the bundled page, by file name."""
    folder = tmp_path_factory.mktemp("bundle")
    subprocess.run((sys.executable, ROOT / "tools" / "page_bundle.py", folder), check=True)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def sent(bundle: dict[str, bytes], names: set[str], folder: Path) -> int:
    """The size of these files as the web server sends them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bundle[name])
    assets = Assets(folder)
    found = [assets.get(name) for name in names]
    return sum(len(asset.gzipped or asset.body) for asset in found if asset is not None)


def of_live_page(bundle: dict[str, bytes]) -> set[str]:
    """The files that index.html names, and the scripts they import statically."""
    named = set(re.findall(r'(?:src|href)="a/dev/([^"]+)"', bundle["index.html"].decode()))
    return {"index.html", *named, *static_imports("app.js", bundle)}


def lazy_chunks(bundle: dict[str, bytes]) -> set[str]:
    """The scripts imported when a page is first opened."""
    scripts = (body.decode() for name, body in bundle.items() if name.endswith(".js"))
    return {name for script in scripts for name in DYNAMIC_IMPORT.findall(script)}


def test_the_live_page_stays_within_its_budget(bundle: dict[str, bytes], tmp_path: Path) -> None:
    names = of_live_page(bundle)
    assert {"app.js", "theme.js", "style.css", "favicon.svg"} <= names
    assert 20_000 < sent(bundle, names, tmp_path) <= LIVE_BYTES


def test_each_later_page_stays_within_its_budget(bundle: dict[str, bytes], tmp_path: Path) -> None:
    there = of_live_page(bundle)
    for chunk in lazy_chunks(bundle):
        names = {chunk, *static_imports(chunk, bundle)} - there
        assert sent(bundle, names, tmp_path / chunk) <= LAZY_BYTES, chunk


def test_every_script_of_the_bundle_belongs_to_the_live_page_or_is_loaded_later(
    bundle: dict[str, bytes],
) -> None:
    later = lazy_chunks(bundle)
    shared = {name for chunk in later for name in static_imports(chunk, bundle)}
    scripts = {name for name in bundle if name.endswith(".js")}
    assert scripts == (of_live_page(bundle) & scripts) | later | shared


def test_the_bundled_style_sheet_keeps_its_layers(bundle: dict[str, bytes]) -> None:
    written = (ROOT / "frontend" / "app" / "style.css").read_text()
    layers = re.findall(r"^@layer (.*?) ?[{;]", written, re.MULTILINE)
    kept = re.findall(r"@layer (.*?)[{;]", bundle["style.css"].decode())
    assert [name.replace(", ", ",") for name in layers] == kept
    assert len(kept) == 7
