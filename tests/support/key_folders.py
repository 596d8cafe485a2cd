"""Folders of keys for tests."""

from pathlib import Path

from gpu_monitor.commands import key_files
from gpu_monitor.wire.curve.keys import HOSTS, WEBS, names, own_pair


class KeyFolders:
    """The key folders of a broker and of its peers, in one parent folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.broker = str(place / "broker")
        key_files.init(self.broker, "broker")

    def machine(self, name: str, *kinds: str) -> str:
        """The folder of a machine that has the broker's key, enrolled as these kinds."""
        folder = self.place / name
        key_files.init(str(folder), name)
        (folder / "broker.pub").write_text(own_pair(self.broker).public + "\n")
        for kind in kinds:
            self.enrol(name, kind)
        return str(folder)

    def host(self, name: str) -> str:
        """The folder of an enrolled GPU host."""
        return self._known(name, HOSTS)

    def web(self, name: str) -> str:
        """The folder of an enrolled web server."""
        return self._known(name, WEBS)

    def _known(self, name: str, kind: str) -> str:
        if name in names(self.broker, kind):
            return str(self.place / name)
        return self.machine(name, kind)

    def enrol(self, name: str, kind: str) -> None:
        """Enrol a machine that has a folder."""
        public = own_pair(str(self.place / name)).public
        key_files.add(self.broker, kind, name, public)

    def revoke(self, name: str, kind: str) -> None:
        """Revoke the key of a machine."""
        key_files.revoke(self.broker, kind, name)
