"""The limits of the units, enforced by the kernel of an emulated machine with cgroup v2.

With cgroup v1, containers accept MemoryMax and DeviceAllow without effect. This takes minutes and
is not part of `make lab`: run it after changing a unit.
"""

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_nvml.library import SONAME, library_folder
from tests.lab import tree
from tests.lab.bed import call, missing
from tests.lab.fleet import wheelhouse
from tests.support.house import ROOT

PACKAGES = f"{tree.PACKAGES},linux-image-cloud-amd64,initramfs-tools"
VM_SECONDS = 600
PROOF = Path(__file__).parent / "vm_proof.py"
PROOF_UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /opt/proof.py
ExecStopPost=/usr/bin/systemctl --force --force poweroff
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def proof() -> Iterator[dict[str, str]]:
    """The console output of the machine."""
    reason = missing()
    if not reason and shutil.which("qemu-system-x86_64") is None:
        reason = "qemu-system-x86_64 is not installed"
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(dir=tree.BUILDS.parent) as folder:
        log = run_machine(Path(folder))
    found = dict(re.findall(r"PROOF (.*?): (.*?)\r?$", log, re.MULTILINE))
    assert "end" in found, log[-6000:]
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    yield found


def run_machine(folder: Path) -> str:
    """Build a disk, boot it, and return everything the machine wrote to its console."""
    root = folder / "root"
    root.mkdir()
    call("tar", "-C", root, "--xattrs", "-xpf", tree.tarball(PACKAGES))
    install(root)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    shutil.copy(kernel, folder / "kernel")
    shutil.copy(initrd, folder / "initrd")
    call("mke2fs", "-q", "-t", "ext4", "-d", root, folder / "root.img", "2500M")
    shutil.rmtree(root)
    machine = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024"]
    machine += ["-smp", "2", "-display", "none", "-no-reboot", "-net", "none"]
    machine += ["-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd")]
    machine += ["-append", "root=/dev/vda rw console=ttyS0 panic=-1 quiet"]
    machine += ["-drive", f"file={folder}/root.img,format=raw,if=virtio"]
    machine += ["-serial", f"file:{folder}/console.log"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(machine, timeout=VM_SECONDS, check=False, stdin=subprocess.DEVNULL)
    return (folder / "console.log").read_text(errors="replace")


def install(root: Path) -> None:
    """Install like the rollout, in a tree that is not booted; all three services on one machine."""
    package = Path(call(ROOT / "tools" / "setup", "wheel").strip())
    wheels = root / "srv" / "wheels"
    shutil.copytree(wheelhouse(), wheels)
    shutil.copytree(package, wheels, dirs_exist_ok=True)
    release = "/opt/gpu-monitor/releases/lab"
    script = f"""
    set -e
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gpu-monitor
    python3 -m venv {release}
    cd /srv/wheels
    {release}/bin/python -m pip install --quiet --no-index --find-links . -r requirements.txt
    ln -s {release} /opt/gpu-monitor/current
    """
    call("chroot", root, "sh", "-c", script, timeout=VM_SECONDS)
    shutil.copy(library_folder() / SONAME, root / "usr/lib/x86_64-linux-gnu" / SONAME)
    (root / "usr/lib/x86_64-linux-gnu" / SONAME).chmod(0o755)
    shutil.copy(ROOT / "tests/fake_nvml/lab.scenario", root / "etc/gpus.scenario")
    (root / "etc/gpu-monitor").mkdir()
    (root / "etc/gpu-monitor/config.yml").write_text("{}\n")
    (root / "etc/systemd/system.conf.d").mkdir()
    (root / "etc/systemd/system.conf.d/lab.conf").write_text(
        "[Manager]\nDefaultEnvironment=FAKE_NVML_SCENARIO=/etc/gpus.scenario\n"
    )
    shutil.copy(PROOF, root / "opt/proof.py")
    (root / "etc/systemd/system/proof.service").write_text(PROOF_UNIT)
    units = ["proof"]
    for unit in ROOT.glob("ansible/roles/*/files/*.service"):
        shutil.copy(unit, root / "etc/systemd/system")
        units.append(unit.stem)
    call("chroot", root, "sh", "-c", f"ldconfig; systemctl enable {' '.join(units)}")


def test_the_services_work_with_all_limits_in_force(proof: dict[str, str]) -> None:
    assert proof["state"] == "live"
    assert proof["gpus"] == "10"


def test_the_collector_sees_the_owners_of_processes_despite_hidepid(
    proof: dict[str, str],
) -> None:
    assert proof["seen by an ordinary user"] == ""
    assert proof["owners"] == proof["owners with hidepid"] == "['root']"


def test_the_memory_of_each_service_is_limited(proof: dict[str, str]) -> None:
    for part, mib in (("collector", 256), ("broker", 2048), ("web", 1024)):
        assert int(proof[f"memory.max of {part}"]) == mib << 20
    assert proof["over MemoryMax"] == "oom-kill"


def test_the_collector_may_open_only_the_devices_of_the_driver(proof: dict[str, str]) -> None:
    output = proof["devices"]
    for name in ("nvidia0", "nvidiactl"):
        assert f"{name} ENXIO" in output  # allowed, but without a driver
    assert "other EPERM" in output
    assert "null opened" in output
