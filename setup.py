"""Build with the settings in setup.cfg; a source distribution keeps symbolic links."""

import os
from collections.abc import Iterable
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class SourceDistribution(sdist):
    """setuptools follows links, and would pack everything behind them a second time."""

    def make_release_tree(self, base_dir: str, files: Iterable[str]) -> None:
        links = [path for path in Path("gpu_monitor").rglob("*") if path.is_symlink()]
        followed = {file for file in files if {Path(file), *Path(file).parents} & set(links)}
        super().make_release_tree(base_dir, [file for file in files if file not in followed])
        for link in links:
            Path(base_dir, link).symlink_to(os.readlink(link))


setup(cmdclass={"sdist": SourceDistribution})
