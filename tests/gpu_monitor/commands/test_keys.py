"""`gpu-monitor keys`: what it writes and prints, and what it never overwrites or reveals."""

import io
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_monitor.arguments import build_parser
from gpu_monitor.commands.keys import run
from gpu_monitor.config.file import ConfigError
from gpu_monitor.config.keys import Config
from gpu_monitor.wire.curve.keys import client_keys, own_pair, public_key
from tests.support.house import COMMAND, ROOT


class Folder:
    """A folder of keys, and everything that the command has printed about it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self.good = True
        self.printed = ""

    def keys(self, *arguments: str) -> str:
        """What `gpu-monitor keys ARGUMENTS` prints to stdout."""
        asked = build_parser().parse_args(["keys", *arguments])
        self.good = run(asked, Config(keys=str(self.path)))
        printed = self._capsys.readouterr()
        self.printed += printed.out + printed.err
        return printed.out

    def refusal(self, *arguments: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.keys(*arguments)
        (line,) = caught.value.lines
        return line

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.path / name).stat().st_mode)

    def secrets(self) -> list[str]:
        return [own_pair(str(file.parent)).secret for file in self.path.rglob("own.key")]


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path / "keys", capsys)


@pytest.fixture
def broker(folder: Folder) -> Folder:
    folder.keys("init")
    return folder


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The public key of another machine."""
    from gpu_monitor.commands.key_files import init

    return init(str(tmp_path / "other"), "other")[0]


def test_init_creates_a_private_pair_and_prints_the_public_key(folder: Folder) -> None:
    printed = folder.keys("init")
    assert printed == own_pair(str(folder.path)).public + "\n"
    assert printed == public_key(str(folder.path), "own.pub") + "\n"
    assert (folder.mode("."), folder.mode("own.key"), folder.mode("own.pub")) == (
        0o700,
        0o600,
        0o644,
    )
    assert (folder.path / "own.key").read_text().startswith("# GPU Monitor: the SECRET key of ")


def test_init_overwrites_nothing_and_prints_the_existing_key(folder: Folder) -> None:
    printed, before = folder.keys("init"), (folder.path / "own.key").read_bytes()
    assert folder.keys("init") == printed
    assert (folder.path / "own.key").read_bytes() == before


def test_init_restores_a_missing_or_wrong_public_key(folder: Folder, other: str) -> None:
    printed = folder.keys("init")
    (folder.path / "own.pub").unlink()
    folder.keys("init")
    assert public_key(str(folder.path), "own.pub") + "\n" == printed
    (folder.path / "own.pub").write_text(other)
    folder.keys("init")
    assert public_key(str(folder.path), "own.pub") + "\n" == printed


def test_init_leaves_an_unusable_secret_key_alone(folder: Folder) -> None:
    folder.keys("init")
    (folder.path / "own.key").write_text("nonsense")
    assert "own.key: holds no key" in folder.refusal("init")
    assert (folder.path / "own.key").read_text() == "nonsense"


def test_add_with_a_public_key_enrols_it(broker: Folder, other: str) -> None:
    assert broker.keys("add", "node1", f"--public={other}").startswith("node1 is enrolled (")
    assert public_key(str(broker.path), "hosts/node1.pub") == other
    assert not (broker.path / "webs").exists() and not (broker.path / "carry").exists()


def test_add_again_with_the_same_key_changes_nothing(broker: Folder, other: str) -> None:
    broker.keys("add", "node1", f"--public={other}")
    before = (broker.path / "hosts/node1.pub").stat().st_mtime_ns
    assert "already" in broker.keys("add", "node1", f"--public={other}")
    assert (broker.path / "hosts/node1.pub").stat().st_mtime_ns == before


def test_add_does_not_replace_a_key(broker: Folder, other: str) -> None:
    broker.keys("add", "node1")
    before = (broker.path / "hosts/node1.pub").read_bytes()
    for arguments in (("node1", f"--public={other}"), ("node1",)):
        words = "node1: enrolled with another key; use gpu-monitor keys rotate"
        assert broker.refusal("add", *arguments) == words
    assert (broker.path / "hosts/node1.pub").read_bytes() == before


def test_add_reads_a_key_file_from_stdin(
    broker: Folder, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"# own.pub of other\n{other}\n"))
    broker.keys("add", "--web", "page1", "--public=-")
    assert public_key(str(broker.path), "webs/page1.pub") == other


def test_add_without_a_key_creates_a_folder_to_move_to_the_host(broker: Folder) -> None:
    printed = broker.keys("add", "node1")
    carry = broker.path / "carry/hosts/node1"
    assert f"Its keys are in {carry}\n" in printed
    keys = client_keys(str(carry))
    assert keys.broker == own_pair(str(broker.path)).public
    assert keys.own.public == public_key(str(broker.path), "hosts/node1.pub")
    assert stat.S_IMODE(carry.stat().st_mode) == 0o700
    assert stat.S_IMODE((carry / "own.key").stat().st_mode) == 0o600


def test_rotate_replaces_a_key(broker: Folder, other: str) -> None:
    broker.keys("add", "node1")
    before = public_key(str(broker.path), "hosts/node1.pub")
    broker.keys("rotate", "node1")
    made = public_key(str(broker.path), "hosts/node1.pub")
    assert client_keys(str(broker.path / "carry/hosts/node1")).own.public == made != before
    broker.keys("rotate", "node1", f"--public={other}")
    assert public_key(str(broker.path), "hosts/node1.pub") == other


def test_rotate_of_an_unknown_name_enrols_nothing(broker: Folder, other: str) -> None:
    words = "nodeI: not enrolled here; use gpu-monitor keys add"
    assert broker.refusal("rotate", "nodeI", f"--public={other}") == words
    assert not (broker.path / "hosts").exists()


def test_rotate_without_a_host_replaces_this_machine_s_pair(broker: Folder) -> None:
    before = own_pair(str(broker.path))
    printed = broker.keys("rotate")
    after = own_pair(str(broker.path))
    assert printed == after.public + "\n" == public_key(str(broker.path), "own.pub") + "\n"
    assert before.secret != after.secret and broker.mode("own.key") == 0o600


def test_rotate_names_the_next_step(broker: Folder) -> None:
    broker.keys("rotate")
    assert "the broker accepts this machine again once it has this key" in broker.printed
    broker.keys("add", "node1")
    broker.keys("rotate")
    assert "restart the broker, and copy own.pub to every machine as broker.pub" in broker.printed


def test_rotating_the_broker_s_key_also_updates_its_own_broker_pub(
    broker: Folder, other: str
) -> None:
    pinned = broker.path / "broker.pub"
    pinned.write_text(other)
    broker.keys("rotate")
    assert public_key(str(broker.path), "broker.pub") == other
    pinned.write_text(own_pair(str(broker.path)).public)
    broker.keys("rotate")
    assert public_key(str(broker.path), "broker.pub") == own_pair(str(broker.path)).public


def test_revoke_removes_the_key_and_a_pair_not_yet_moved(broker: Folder) -> None:
    broker.keys("add", "node1")
    broker.keys("add", "--web", "node1")
    broker.keys("revoke", "node1")
    assert not (broker.path / "hosts/node1.pub").exists()
    assert not (broker.path / "carry/hosts/node1").exists()
    assert (broker.path / "webs/node1.pub").exists()
    assert broker.refusal("revoke", "node1").endswith("not enrolled here; nothing to revoke")


def test_two_machines_cannot_share_a_key(broker: Folder, other: str) -> None:
    broker.keys("add", "node1", f"--public={other}")
    words = "node2: this key belongs to node1; create another one there"
    assert broker.refusal("add", "node2", f"--public={other}") == words
    broker.keys("add", "--web", "node1", f"--public={other}")  # one machine, both roles


@pytest.mark.parametrize("name", ["a/b", "../own", "..", ".hidden", "a b", "", "ü", "x" * 254])
def test_an_invalid_host_name_is_refused(broker: Folder, name: str) -> None:
    for action in ("add", "rotate", "revoke"):
        if name or action != "rotate":
            assert "is not a host name" in broker.refusal(action, name)
    assert not (broker.path / "hosts").exists()


@pytest.mark.parametrize("key", ["short", "x" * 41, "~" * 40, "# comment", "%" * 40])
def test_an_invalid_key_is_refused_and_not_repeated(broker: Folder, key: str) -> None:
    words = broker.refusal("add", "node1", f"--public={key}")
    assert words.startswith("--public: not a key") and key not in words


def test_list_shows_the_enrolled_machines_and_succeeds(broker: Folder, other: str) -> None:
    broker.keys("add", "node1", f"--public={other}")
    broker.keys("add", "--web", "page1", f"--public={other}")
    lines = [line.split() for line in broker.keys("list").splitlines()]
    assert [line[:-4] for line in lines[2:]] == [["host", "node1"], ["web", "page1"]]
    assert [line[-1] for line in lines[1:]] == ["ok", "ok", "ok"]
    assert broker.good and broker.keys() == broker.keys("list")


def test_list_names_problems_and_fails(broker: Folder) -> None:
    broker.keys("add", "node1")
    assert (
        f"{broker.path}/carry/hosts/node1 holds the secret key of another machine; move it there"
        in broker.keys("list")
    )
    assert not broker.good
    broker.keys("revoke", "node1")
    os.chmod(broker.path / "own.key", 0o640)
    assert "others may read it (mode 0640); run chmod 600" in broker.keys("list")
    assert not broker.good
    os.chmod(broker.path / "own.key", 0o600)
    os.chmod(broker.path, 0o755)
    assert f"{broker.path}: other users can read it; run chmod 700" in broker.keys("list")
    assert not broker.good


def test_no_secret_is_ever_printed(broker: Folder, other: str) -> None:
    for line in (
        "init",
        "add node1",
        f"add node2 --public={other}",
        "add --web page1",
        "rotate node1",
        "list",
        "rotate",
        "list",
    ):
        broker.keys(*line.split())
        assert len(broker.secrets()) >= 1
        assert [secret for secret in broker.secrets() if secret in broker.printed] == []


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that belongs to another user."""
    place = Path(tempfile.mkdtemp(prefix="keys-"))
    os.chown(place, 65534, 65534)
    yield place
    shutil.rmtree(place)


@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for another user")
def test_files_created_by_root_belong_to_the_owner_of_the_folder(foreign_folder: Path) -> None:
    for action in (["init"], ["add", "node1"], ["list"]):
        line = [*COMMAND, "keys", *action, "--keys", str(foreign_folder)]
        subprocess.run(line, cwd=ROOT, capture_output=True)
    files = list(foreign_folder.rglob("*"))
    assert len(files) == 10
    assert {file.stat().st_uid for file in files} == {65534}


@pytest.mark.processes
def test_without_a_folder_the_refusal_says_how_to_set_one() -> None:
    answer = subprocess.run(
        [*COMMAND, "keys", "init"], cwd="/", env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith(b"keys: no folder is set; write keys: /etc/gpu-monitor/keys")


@pytest.mark.processes
def test_list_fails_with_1_and_a_refusal_with_2(broker: Folder) -> None:
    os.chmod(broker.path, 0o755)
    codes = [
        subprocess.run(
            [*COMMAND, "keys", *line, "--keys", str(broker.path)], cwd=ROOT, capture_output=True
        ).returncode
        for line in (["list"], ["revoke", "nobody"], ["add"], ["init"])
    ]
    assert codes == [1, 2, 2, 0]
