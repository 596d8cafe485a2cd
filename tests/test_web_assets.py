"""The page's files are read once, named by their hash, and read again when one changes."""

import gzip
from pathlib import Path

import pytest

from web.assets import Assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "views").mkdir()
    (tmp_path / "index.html").write_text('<script src="a/dev/app.js"></script>')
    (tmp_path / "app.js").write_text("x" * 500)
    (tmp_path / "views" / "host.js").write_text("host()")
    return tmp_path


def test_files_are_asked_for_by_their_path(folder: Path) -> None:
    asset = Assets(folder).get("views/host.js")
    assert asset is not None
    assert asset.body == b"host()"
    assert asset.content_type == "text/javascript; charset=utf-8"


def test_the_page_names_the_hash(folder: Path) -> None:
    assets = Assets(folder)
    page = assets.get("index.html")
    assert page is not None
    assert page.body == f'<script src="a/{assets.hash}/app.js"></script>'.encode()


def test_a_file_is_compressed_where_that_makes_it_smaller(folder: Path) -> None:
    assets = Assets(folder)
    large, small = assets.get("app.js"), assets.get("views/host.js")
    assert large is not None and large.gzipped is not None
    assert gzip.decompress(large.gzipped) == large.body
    assert small is not None and small.gzipped is None


def test_the_hash_changes_with_any_file_and_comes_back_with_it(folder: Path) -> None:
    assets = Assets(folder)
    first = assets.hash
    (folder / "views" / "host.js").write_text("changed()")
    assert assets.refresh() and assets.hash != first
    (folder / "views" / "host.js").write_text("host()")
    assert assets.refresh() and assets.hash == first
    assert not assets.refresh()


def test_a_new_file_is_seen_and_a_removed_one_is_gone(folder: Path) -> None:
    assets = Assets(folder)
    (folder / "new.css").write_text("a{}")
    (folder / "app.js").unlink()
    assert assets.refresh()
    assert assets.get("new.css") is not None
    assert assets.get("app.js") is None


def test_links_and_hidden_files_are_not_served(folder: Path, tmp_path: Path) -> None:
    (folder / ".secret").write_text("x")
    (folder / "link.js").symlink_to("/etc/passwd")
    assets = Assets(folder)
    for name in (".secret", "link.js", "views", "../app.js", "/etc/passwd", ""):
        assert assets.get(name) is None


def test_scripts_go_without_comments_but_for_what_others_wrote(folder: Path) -> None:
    (folder / "vendor").mkdir()
    for name in ("own.js", "vendor/other.js"):
        (folder / name).write_text("// words\ncode()")
    assets = Assets(folder)
    own, other = assets.get("own.js"), assets.get("vendor/other.js")
    assert own is not None and own.body == b"code()"
    assert other is not None and other.body == b"// words\ncode()"


def test_the_whole_page_is_at_most_50_kb_as_it_is_sent() -> None:
    assert 20_000 < Assets().bytes_sent() <= 50_000
