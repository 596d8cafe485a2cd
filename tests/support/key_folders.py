"""Folders of keys for tests."""

from pathlib import Path

from gpu_monitor.commands import key_files
from gpu_monitor.wire.curve.keys import HOSTS, WEBS, names, own_pair


class KeyFolders:
    """The folders of a broker and of the machines that it may let in, below one place."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.broker = str(place / "broker")
        key_files.init(self.broker, "broker")

    def machine(self, name: str, *kinds: str) -> str:
        """The folder of a machine that pins the broker's key, enrolled as those kinds."""
        folder = self.place / name
        key_files.init(str(folder), name)
        (folder / "broker.pub").write_text(own_pair(self.broker).public + "\n")
        for kind in kinds:
            self.enrol(name, kind)
        return str(folder)

    def host(self, name: str) -> str:
        """The folder of a collector's machine that may report."""
        return self._known(name, HOSTS)

    def web(self, name: str) -> str:
        """The folder of a web server's machine that may listen."""
        return self._known(name, WEBS)

    def _known(self, name: str, kind: str) -> str:
        if name in names(self.broker, kind):
            return str(self.place / name)
        return self.machine(name, kind)

    def enrol(self, name: str, kind: str) -> None:
        """Lets a machine in that has a folder."""
        public = own_pair(str(self.place / name)).public
        key_files.add(self.broker, kind, name, public)

    def revoke(self, name: str, kind: str) -> None:
        """Lets it in no longer."""
        key_files.revoke(self.broker, kind, name)
