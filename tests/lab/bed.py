"""The lab's machines: booted containers with systemd and sshd on a network of their own.

A run keeps everything in one tmpfs and in network namespaces named after it, so that two runs do
not interfere, and the remains of a killed run can be recognised and removed.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.lab import tree
from tests.support.house import eventually

RUNS = Path("/run/gpu-monitor-lab")
PROGRAMS = ("mmdebstrap", "systemd-nspawn", "ip", "nsenter", "ssh", "ssh-keygen", "iptables")
CONTROL, SWITCH = "ctl", "sw"
SUBNET = "10.77.0"
ADDRESSES = {CONTROL: 1, "server": 10, "gpu1": 11, "gpu2": 12}
POWEROFF = signal.SIGRTMIN + 4
"""The signal that a container's systemd treats as its power button (systemd(1))."""


def missing() -> str:
    """The reason why the lab cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "it needs root, for namespaces and mounts"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed: tools/setup lab does that on Debian and Ubuntu"
    if tree.debian_sources() is None:
        return f"it needs a Debian machine with a mirror of {tree.RELEASE}"
    probe = ["unshare", "--net", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"namespaces and mounts are not allowed here ({done.stderr.strip()})"
    return ""


def call(*command: str | Path, given: str | None = None, timeout: float = 120) -> str:
    """Run a command and return its output; AssertionError with the output if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    words = f"{shlex.join(map(str, command))} ended with {done.returncode}"
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Machine:
    """One container; `leader` is the pid of its init, or None while it is off."""

    name: str
    lab: str
    folder: Path
    process: "subprocess.Popen[str] | None" = None
    leader: int | None = None
    mounted: bool = field(default=False)

    @property
    def address(self) -> str:
        return f"{SUBNET}.{ADDRESSES[self.name]}"

    @property
    def namespace(self) -> str:
        return f"{self.lab}-{self.name}"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def boot(self) -> None:
        """Switch it on; returns once its init runs."""
        if not self.mounted:
            for part in ("upper", "work", "root"):
                (self.folder / part).mkdir(parents=True)
            layers = f"lowerdir={self.folder.parent / 'tree'},upperdir={self.folder / 'upper'}"
            options = f"{layers},workdir={self.folder / 'work'}"
            call("mount", "-t", "overlay", "overlay", "-o", options, self.root)
            self.mounted = True
        with (self.folder / "console.log").open("a") as console:
            self.process = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--quiet",
                    "--boot",
                    f"--directory={self.root}",
                    f"--machine={self.namespace}",
                    f"--hostname={self.name}",
                    "--register=no",
                    "--keep-unit",
                    f"--network-namespace-path=/run/netns/{self.namespace}",
                    "--resolv-conf=off",
                    "--timezone=off",
                    "--link-journal=no",
                    "--console=pipe",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                text=True,
                start_new_session=True,
            )
        self.leader = eventually(self._leader, f"{self.name} to boot")

    def _leader(self) -> int | None:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "console.log").read_text()
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    def cut_power(self) -> None:
        """Like pulling the plug: no process is notified."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """Like pressing the power button."""
        self._end(POWEROFF)

    def _end(self, by: int) -> None:
        if self.process is None:
            return
        if self.leader is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, by)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
        self.process = self.leader = None

    def call(self, *command: str, given: str | None = None) -> str:
        """Run a command in the machine as root, and return its output."""
        return call(*self.inside(), *command, given=given)

    def inside(self) -> list[str]:
        """The prefix that runs a command in the machine as root."""
        assert self.leader is not None, f"{self.name} is off"
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]

    def journal(self, unit: str) -> str:
        """The complete log of a unit since the machine was created."""
        self.call("journalctl", "--sync")
        return self.call("journalctl", "--no-pager", "-o", "cat", "-u", unit)


class Bed:
    """The machines of one run, and their network."""

    def __init__(self) -> None:
        self.id = f"gml{os.getpid()}"
        self.folder = RUNS / self.id
        self.machines: dict[str, Machine] = {}
        self._lock: IO[str] | None = None

    def up(self) -> None:
        """Create everything; returns once all machines accept ssh."""
        self._lock = claim(self.id)
        self.folder.mkdir(parents=True)
        call("mount", "-t", "tmpfs", "-o", "size=6g,mode=755", "gpu-monitor-lab", self.folder)
        base = self.folder / "tree"
        base.mkdir()
        call("tar", "-C", base, "--xattrs", "-xpf", tree.tarball())
        self._let_in(base)
        self._network()
        for name in ADDRESSES:
            if name != CONTROL:
                self.machines[name] = Machine(name, self.id, self.folder / name)
                self.machines[name].boot()
        for machine in self.machines.values():
            self.wait_for_ssh(machine)

    def _let_in(self, base: Path) -> None:
        """Give the operator's account a key, and the operator the host keys."""
        key = self.folder / "id_ed25519"
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        home = base / "home" / tree.USER / ".ssh"
        home.mkdir(mode=0o700)
        shutil.copy(f"{key}.pub", home / "authorized_keys")
        call("chroot", base, "chown", "-R", f"{tree.USER}:", f"/home/{tree.USER}/.ssh")
        host_key = (base / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"{SUBNET}.* {host_key}")
        (self.folder / "ssh_config").write_text(
            f"IdentityFile {key}\n"
            f"UserKnownHostsFile {self.folder}/known_hosts\n"
            "GlobalKnownHostsFile /dev/null\n"
            "ConnectTimeout 5\n"
            "ControlMaster auto\n"
            "ControlPersist 60\n"
        )

    def _network(self) -> None:
        switch = f"{self.id}-{SWITCH}"
        call("ip", "netns", "add", switch)
        call("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        call("ip", "-n", switch, "link", "set", "br0", "up")
        for name, number in ADDRESSES.items():
            space = f"{self.id}-{name}"
            call("ip", "netns", "add", space)
            veth = ["link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0"]
            call("ip", "-n", switch, *veth, "netns", space)
            call("ip", "-n", switch, "link", "set", f"p-{name}", "master", "br0", "up")
            call("ip", "-n", space, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                call("ip", "-n", space, "link", "set", link, "up")

    def wait_for_ssh(self, machine: Machine) -> None:
        """Wait until the operator can log in."""
        command = [*self.at(CONTROL), "ssh", "-F", str(self.folder / "ssh_config")]
        command += [f"{tree.USER}@{machine.address}", "true"]

        def answers() -> bool:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        eventually(answers, f"{machine.name} to accept a login")

    def at(self, name: str) -> list[str]:
        """The prefix that runs a command in that network namespace."""
        return ["ip", "netns", "exec", f"{self.id}-{name}"]

    def pull_cable(self, name: str) -> None:
        """Disconnect a machine from the network."""
        call("ip", "-n", f"{self.id}-{SWITCH}", "link", "set", f"p-{name}", "down")

    def plug_cable(self, name: str) -> None:
        """Reconnect a machine to the network."""
        call("ip", "-n", f"{self.id}-{SWITCH}", "link", "set", f"p-{name}", "up")

    def down(self) -> None:
        """Remove everything."""
        for machine in self.machines.values():
            machine.cut_power()
        remove(self.id)
        if self._lock is not None:
            self._lock.close()
            Path(self._lock.name).unlink(missing_ok=True)


def claim(name: str) -> IO[str]:
    """Lock a file to mark this run as alive; the kernel releases the lock with the process.

    The remains of killed runs are removed first.
    """
    RUNS.mkdir(exist_ok=True)
    with (RUNS / "claims").open("w") as claims:
        fcntl.flock(claims, fcntl.LOCK_EX)  # one at a time: a new lock file is not yet locked
        for path in RUNS.glob("*.lock"):
            _remove_if_dead(path)
        lock = (RUNS / f"{name}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _remove_if_dead(path: Path) -> None:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        remove(path.stem)
        path.unlink(missing_ok=True)


def remove(name: str) -> None:
    """End all processes in the namespaces of a run, then remove its namespaces and mounts."""
    for space in namespaces(name):
        for pid in call("ip", "netns", "pids", space).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(call("ip", "netns", "pids", space) for space in namespaces(name)):
        assert time.monotonic() < deadline, "processes in the lab's namespaces do not end"
        time.sleep(0.05)
    for space in namespaces(name):
        call("ip", "netns", "del", space)
    for mount in sorted(mounts(name), reverse=True):
        call("umount", "--lazy", mount)
    shutil.rmtree(RUNS / name, ignore_errors=True)


def namespaces(name: str) -> list[str]:
    """The network namespaces of a run."""
    listed = json.loads(call("ip", "-json", "netns") or "[]")
    return [space["name"] for space in listed if space["name"].startswith(f"{name}-")]


def mounts(name: str) -> list[str]:
    """The mounts of a run."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return [point for point in points if f"{point}/".startswith(f"{RUNS / name}/")]


def processes_of(words: Sequence[str]) -> list[str]:
    """Command lines on this machine that contain one of `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if any(word in line for word in words):
                found.append(line)
    return found
