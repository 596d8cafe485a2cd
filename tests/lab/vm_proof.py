"""Runs inside the emulated machine of vm_limits.py, and prints what it finds on the console."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLEET = "http://127.0.0.1:8042/api/v1/fleet"
COLLECTOR = "gpu-monitor-collector"
DROP_IN = Path(f"/run/systemd/system/{COLLECTOR}.service.d/proof.conf")
PATIENCE_SECONDS = 120
OPEN_DEVICES = """
import errno
for name in "nvidia0", "nvidiactl", "other", "null":
    try:
        open(f"/dev/{name}", "rb", buffering=0)
        print(name, "opened", flush=True)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)
"""
USE_MEMORY = "x = bytearray(400 << 20)"


def main() -> None:
    for name, minor in (("nvidia0", 0), ("nvidiactl", 255)):
        run("mknod", "-m", "666", f"/dev/{name}", "c", "195", str(minor))
    run("mknod", "-m", "666", "/dev/other", "c", "10", "229")
    host = host_when(lambda host: host.get("state") == "live")
    report("state", host.get("state"))
    report("gpus", len(host["gpus"]["index"]))
    for part in ("collector", "broker", "web"):
        group = f"/sys/fs/cgroup/system.slice/gpu-monitor-{part}.service"
        report(f"memory.max of {part}", read(f"{group}/memory.max"))
    report("owners", owners())
    hide_processes()
    report("seen by an ordinary user", run("runuser", "-u", "gpu-monitor", "cat", "/proc/1/comm"))
    report("owners with hidepid", owners())
    report("devices", output_of_collector(OPEN_DEVICES))
    output_of_collector(USE_MEMORY)
    report("over MemoryMax", run("systemctl", "show", "--value", "-p", "Result", COLLECTOR))
    report("end", "reached")


def report(name: str, value: object) -> None:
    with open("/dev/ttyS0", "w") as console:
        console.write(f"PROOF {name}: {value}\n")


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read(path: str) -> str:
    return Path(path).read_text().strip()


def host_when(is_right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The only host on the page, once it meets the condition or time is up."""
    host: dict[str, Any] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not (host and is_right(host)):
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(FLEET, timeout=5) as answer:
                host = next(iter(json.load(answer)["hosts"].values()), {})
        except OSError:
            continue
    return host


def owners() -> list[str]:
    """The owners that a newly started collector shows for processes of pid 1."""
    started_at = time.time()
    run("systemctl", "restart", COLLECTOR)

    def is_new(host: dict[str, Any]) -> bool:
        ours = [i for i, user in enumerate(host["processes"]["user"]) if user == "gpu-monitor"]
        return any(host["processes"]["started_at"][i] >= int(started_at) - 1 for i in ours)

    table = host_when(lambda host: host["state"] == "live" and is_new(host))["processes"]
    return sorted({str(u) for p, u in zip(table["pid"], table["user"], strict=True) if p == 1})


def hide_processes() -> None:
    run("mount", "-o", "remount,hidepid=2", "/proc")


def output_of_collector(program: str) -> str:
    """The output of a program that runs once in place of the collector, under all its limits."""
    Path("/opt/program.py").write_text(program)
    lines = ["Type=oneshot", "Restart=no", "WatchdogSec=0", "ExecStart="]
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(
        "\n".join(["[Service]", *lines, "ExecStart=/usr/bin/python3 /opt/program.py\n"])
    )
    run("systemctl", "daemon-reload")
    since = str(time.time())
    run("systemctl", "restart", COLLECTOR)
    return run("journalctl", "-o", "cat", "--since", f"@{since}", "-u", COLLECTOR).replace(
        os.linesep, "; "
    )


if __name__ == "__main__":
    main()
