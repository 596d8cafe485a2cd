"""The page's files: read once, named by their hash, and preloaded where they are imported."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from gpu_monitor.web.page.assets import FOLDER, Assets

SCRIPT = '    <script type="module" src="a/dev/app.js"></script>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "views").mkdir()
    (tmp_path / "index.html").write_text(f"<head>\n{SCRIPT}\n</head>")
    (tmp_path / "app.js").write_text("x" * 500)
    (tmp_path / "views" / "host.js").write_text("host()")
    return tmp_path


def preloads(assets: Assets) -> list[str]:
    """What index.html asks the browser to load before its script asks for it."""
    page = assets.get("index.html")
    assert page is not None
    found = re.findall(r'<link rel="modulepreload" href="a/(\w+)/([^"]+)">', page.body.decode())
    assert all(named == assets.hash for named, _ in found)
    return [name for _, name in found]


def test_files_are_asked_for_by_their_path(folder: Path) -> None:
    asset = Assets(folder).get("views/host.js")
    assert asset is not None
    assert asset.body == b"host()"
    assert asset.content_type == "text/javascript; charset=utf-8"


def test_the_page_names_the_hash(folder: Path) -> None:
    assets = Assets(folder)
    page = assets.get("index.html")
    assert page is not None
    assert page.body.decode() == f"<head>\n{SCRIPT}\n</head>".replace("a/dev/", f"a/{assets.hash}/")


def test_a_file_is_compressed_where_that_makes_it_smaller(folder: Path) -> None:
    assets = Assets(folder)
    large, small = assets.get("app.js"), assets.get("views/host.js")
    assert large is not None and large.gzipped is not None
    assert gzip.decompress(large.gzipped) == large.body
    assert small is not None and small.gzipped is None


def test_the_hash_changes_with_any_file_and_comes_back_with_it(folder: Path) -> None:
    first = Assets(folder).hash
    (folder / "views" / "host.js").write_text("changed()")
    assert Assets(folder).hash != first
    (folder / "views" / "host.js").write_text("host()")
    assert Assets(folder).hash == first
    (folder / "views" / "host.js").rename(folder / "views" / "other.js")
    assert Assets(folder).hash != first


def test_files_are_served_as_they_were_at_the_start(folder: Path) -> None:
    assets = Assets(folder)
    first = assets.hash
    (folder / "new.css").write_text("a{}")
    shutil.rmtree(folder / "views")
    asset = assets.get("views/host.js")
    assert asset is not None and asset.body == b"host()"
    assert (assets.get("new.css"), assets.hash) == (None, first)


def test_links_and_hidden_files_are_not_served(folder: Path, tmp_path: Path) -> None:
    (folder / ".secret").write_text("x")
    (folder / "link.js").symlink_to("/etc/passwd")
    assets = Assets(folder)
    for name in (".secret", "link.js", "views", "../app.js", "/etc/passwd", ""):
        assert assets.get(name) is None


@pytest.mark.parametrize(
    "source",
    [
        'import { host } from "./views/host.js";\n',
        'import {\n  host,\n  other as one,\n} from "./views/host.js";\n',
        'import "./views/host.js";\n',
        "let a=1;import{host as b}from'./views/host.js';b()",
        'export * from "./views/host.js";\n',
    ],
)
def test_a_module_that_is_imported_is_preloaded(folder: Path, source: str) -> None:
    (folder / "app.js").write_text(source)
    assert preloads(Assets(folder)) == ["views/host.js"]


@pytest.mark.parametrize(
    "source",
    [
        'const host = await import("./views/host.js");\n',
        '/** @import { Host } from "./views/host.js" */\n',
        ' * @param {import("./views/host.js").Host} host\n',
        'import { host } from "./views/gone.js";\n',
        'import { host } from "elsewhere";\n',
    ],
)
def test_what_is_loaded_later_or_not_at_all_is_not_preloaded(folder: Path, source: str) -> None:
    (folder / "app.js").write_text(source)
    assert preloads(Assets(folder)) == []


def test_imports_of_imports_are_preloaded_once_though_they_import_each_other(folder: Path) -> None:
    (folder / "app.js").write_text('import "./one.js";\nimport "./views/host.js";\n')
    (folder / "one.js").write_text('import "./views/host.js";\nimport "./app.js";\n')
    (folder / "views" / "host.js").write_text('import "../two.js";\n')
    (folder / "two.js").write_text('import "./one.js";\n')
    assert preloads(Assets(folder)) == ["one.js", "views/host.js", "two.js"]


def test_every_module_of_the_page_is_preloaded() -> None:
    modules = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js")}
    assert set(preloads(Assets())) == modules - {"app.js", "theme.js"}
