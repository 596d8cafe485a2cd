"""Fixtures of the tests of sign-in."""

from pathlib import Path

import pytest


@pytest.fixture
def viewers(tmp_path: Path) -> Path:
    """An empty viewers' file; `write` fills it."""
    path = tmp_path / "viewers"
    path.touch(0o600)
    return path
