"""The operator's side: a checkout, an inventory, a terminal, and the page of the fleet."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect

from tests.fake_nvml.library import SONAME, library_folder
from tests.lab import tree
from tests.lab.bed import ADDRESSES, CONTROL, SUBNET, Bed, Machine, call
from tests.support.house import ROOT, eventually

ANSIBLE = ROOT / "build" / "ansible" / "bin"
GUESTS_PYTHON = "3.11"
BASE_PATH = "/gpus"
PLAY_SECONDS = 300
GET = """
import sys, urllib.request
headers = {"Authorization": f"Bearer {sys.argv[2]}"} if sys.argv[2] else {}
asked = urllib.request.Request(sys.argv[1], headers=headers)
print(urllib.request.urlopen(asked, timeout=30).read().decode())
"""
COMMAND = "ansible-playbook -i ./hosts main.yml --ask-become-pass"
"""Verbatim from README.md."""
CHECKED_OUT = (
    *("ansible", "broker", "collector", "frontend/app", "gpu_monitor", "tools", "web", "wire"),
    *("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "config.yml"),
    "frontend/package-lock.json",
)


@dataclass(frozen=True)
class Play:
    """One run of the playbook."""

    code: int
    output: str
    seconds: float

    def recap(self, machine: str) -> dict[str, int]:
        """Ansible's counts for a machine: ok, changed, unreachable, failed, ..."""
        line = re.search(rf"^{machine} +: (.*)$", self.output, re.MULTILINE)
        assert line, f"no recap for {machine}:\n{self.output}"
        return {key: int(count) for key, count in re.findall(r"(\w+)=(\d+)", line[1])}

    def changed(self) -> int:
        """The number of changes on all machines."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.output)))


class Fleet:
    """The machines, and the operator's folder."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.checkout = bed.folder / "checkout"
        self.variables: dict[str, object] = {
            "gpu_monitor_wheelhouse": str(wheelhouse()),
            "gpu_monitor_config": {"base_path": BASE_PATH},
        }
        self.groups = {"webserver": ["server"], "rpcservers": ["gpu1", "gpu2"]}

    def set_up(self) -> None:
        """Make a checkout of the code under test, and put GPUs into the hosts."""
        for name in CHECKED_OUT:
            source, target = ROOT / name, self.checkout / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "hosts")
                shutil.copytree(source, target, symlinks=True, ignore=ignore)
            else:
                shutil.copy(source, target)
        self.build()
        for name in ("gpu1", "gpu2"):
            self.put_gpus(self.machine(name))

    def machine(self, name: str) -> Machine:
        return self.bed.machines[name]

    def build(self) -> None:
        """Build the wheel while there is a network: the operator's namespace has none."""
        call(self.checkout / "tools" / "setup", "wheel")

    def bump_version(self, version: str) -> None:
        """Change the version of the checkout."""
        path = self.checkout / "wire" / "__init__.py"
        text = re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', path.read_text())
        path.write_text(text)
        self.build()

    def put_gpus(self, machine: Machine) -> None:
        """Install the fake NVML in place of the driver's, with a scenario."""
        library = f"/usr/lib/{platform.machine()}-linux-gnu/{SONAME}"
        shutil.copy(library_folder() / SONAME, f"{machine.root}{library}")
        os.chmod(f"{machine.root}{library}", 0o755)  # built without permissions for others
        self.write_scenario(machine, (ROOT / "tests/fake_nvml/lab.scenario").read_text())
        folder = machine.root / "etc" / "systemd" / "system.conf.d"
        folder.mkdir(exist_ok=True)
        variable = "FAKE_NVML_SCENARIO=/etc/gpus.scenario"
        (folder / "lab.conf").write_text(f"[Manager]\nDefaultEnvironment={variable}\n")
        (machine.root / "etc" / "environment").write_text(f"{variable}\n")
        sudoers = machine.root / "etc" / "sudoers.d" / "lab"
        sudoers.write_text("Defaults env_file=/etc/environment\n")
        machine.call("ldconfig")
        machine.call("systemctl", "daemon-reexec")

    def write_scenario(self, machine: Machine, text: str) -> None:
        """Replace the scenario of the machine's GPUs atomically."""
        path = machine.root / "etc" / "gpus.scenario"
        new = path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, path)

    def write_inventory(self) -> None:
        """Write `hosts` as in README.md, plus the variables of the lab."""
        lines = []
        for group, names in self.groups.items():
            lines.append(f"[{group}]")
            lines += [
                f"{name} ansible_host={SUBNET}.{ADDRESSES[name]} ansible_user={tree.USER} "
                "ansible_remote_tmp=/tmp/.ansible/tmp"
                for name in names
            ]
        lines.append("[all:vars]")
        lines += [f"{key}={json.dumps(value)}" for key, value in self.variables.items()]
        (self.checkout / "ansible" / "hosts").write_text("\n".join(lines) + "\n")

    def play(self, *arguments: str, password: str = tree.PASSWORD) -> Play:
        """Run the playbook as described in README.md, and type the sudo password."""
        self.write_inventory()
        environment = os.environ | {
            "PATH": f"{ANSIBLE}:{os.environ['PATH']}",
            "ANSIBLE_SSH_ARGS": f"-F {self.bed.folder}/ssh_config",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.bed.folder / "ansible-tmp"),
        }
        command = [*self.bed.at(CONTROL), *COMMAND.split(), *arguments]
        started = time.monotonic()
        terminal: Any = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(self.checkout / "ansible"),
            env=environment,
            encoding="utf-8",
            timeout=PLAY_SECONDS,
            dimensions=(50, 400),
        )
        terminal.expect("BECOME password: ")
        terminal.sendline(password)
        terminal.expect(pexpect.EOF)
        terminal.close()
        seconds = time.monotonic() - started
        return Play(terminal.exitstatus, terminal.before.replace("\r", ""), seconds)

    def ask(self, path: str, machine: str = "server", token: str = "") -> Any:
        """The JSON response of a machine's web server; None if there is none."""
        url = f"http://127.0.0.1:8042/{path}"
        command = [*self.bed.at(machine), sys.executable, "-c", GET, url, token]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def states(self, machine: str = "server") -> dict[str, str]:
        """The state of each host, by name or by the last number of its address."""
        document = self.ask("api/v1/fleet", machine)
        if document is None or document["broker"]["state"] != "live":
            return {}
        return {name: host["state"] for name, host in document["hosts"].items()}

    def shown_as(self, name: str) -> str:
        """The name of a machine on the page."""
        return (
            name
            if self.variables.get("gpu_monitor_keys", KEYS_BY_DEFAULT)
            else f"{SUBNET}.{ADDRESSES[name]}"
        )

    def host(self, name: str) -> dict[str, Any]:
        """The host that the page shows for a machine."""
        found = self.ask(f"api/v1/hosts/{self.shown_as(name)}")
        assert found is not None, f"the page does not know {name}: {self.states()}"
        return dict(found)

    def wait_for(self, state: str, *names: str) -> None:
        """Wait until the page shows these machines in `state`."""
        wanted = {self.shown_as(name): state for name in names}
        try:
            eventually(lambda: self.states().items() >= wanted.items(), f"{names} to be {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.states()}\n{self.logs()}") from None

    def logs(self) -> str:
        """The last log lines of every service, for a failed test."""
        lines = []
        for machine in self.bed.machines.values():
            if machine.leader is not None:
                found = machine.call("journalctl", "--no-pager", "-n", "40", "-u", "gpu-monitor-*")
                lines.append(f"--- {machine.name}\n{found}")
        return "\n".join(lines)


KEYS_BY_DEFAULT = (
    "gpu_monitor_keys: true" in (ROOT / "ansible/roles/gpu_monitor/defaults/main.yml").read_text()
)


def wheelhouse() -> Path:
    """The wheels of the lock file for the machines' Python, fetched as in docs/operations.md."""
    lock = ROOT / "ansible" / "requirements.txt"
    folder = tree.BUILDS / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    machine = platform.machine()
    tree.BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tree.BUILDS) as temporary:
        fetched = f"{temporary}/wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", fetched]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
        command += ["-r", str(lock), "--python-version", GUESTS_PYTHON]
        for name in ("manylinux2014", "manylinux_2_28"):
            command += ["--platform", f"{name}_{machine}"]
        call(*command, timeout=PLAY_SECONDS)
        with contextlib.suppress(OSError):  # another run was faster
            os.rename(fetched, folder)
    return folder
