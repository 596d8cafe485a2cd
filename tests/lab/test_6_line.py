"""A viewer behind a slow, long or lossy line delays no other, and gets consistent data.

Nothing is deployed: the commands of this checkout run in network namespaces.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fake_nvml.library import library_folder, variables
from tests.lab.bed import call, claim, remove
from tests.support.house import COMMAND, ROOT

HERE = Path(__file__).parent
HOSTS = 100
SECONDS = 32
THIN = (64, 0.02, 0.0)
LOSSY = (2000, 0.3, 0.05)
"""kbit/s, seconds of delay in each direction, rate of lost frames."""
DEFLATE, JSON = "gpu-monitor.v1.deflate", "gpu-monitor.v1.json"
GPUS = "[driver]\nversion = 550.54.15\n[gpu 0-7]\nutilization_percent = 20..90/7\n"


class Town:
    """A namespace with the servers, and others that each connect to it by one line."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._id = f"gmt{os.getpid()}"
        self._numbers = itertools.count(1)
        lock = claim(self._id)
        stack.callback(lock.close)
        stack.callback(Path(lock.name).unlink)
        stack.callback(remove, self._id)
        self._add("server")

    def line(self, kbit: float, delay: float, loss: float) -> tuple[str, str]:
        """Create a namespace behind such a line; return it and the server's address there."""
        number = next(self._numbers)
        place, subnet = f"far{number}", f"10.78.{number}"
        for name in (place, between := f"line{number}"):
            self._add(name)
        for end, name in ((1, "server"), (2, place)):
            pair = ["link", "add", f"to-{name}", "type", "veth", "peer", "name", f"eth{number}"]
            call("ip", "-n", self._space(between), *pair, "netns", self._space(name))
            call("ip", "-n", self._space(between), "link", "set", f"to-{name}", "up")
            # With segmentation offload a card sends large frames, which no line carries.
            short = ["gso_max_size", "1500", "gso_max_segs", "1", "up"]
            call("ip", "-n", self._space(name), "link", "set", f"eth{number}", *short)
            address = ["address", "add", f"{subnet}.{end}/24", "dev", f"eth{number}"]
            call("ip", "-n", self._space(name), *address)
        words = map(str, ("to-server", f"to-{place}", kbit, delay, loss))
        self.start(between, "link", sys.executable, str(HERE / "link.py"), *words)
        return place, f"{subnet}.1"

    def command(self, place: str, name: str, *words: str, **keys: object) -> None:
        """Run a command there, with a config.yml of its own."""
        config = self._folder / f"{place}-{name}.yml"
        config.write_text("".join(f"{key}: {json.dumps(keys[key])}\n" for key in keys))
        self.start(place, name, *COMMAND, name, *words, "--config", str(config))

    def view(self, place: str, url: str, protocol: str) -> Path:
        """Start a viewer there; return its output file."""
        words = (sys.executable, str(HERE / "ages.py"), url, protocol)
        return self.start(place, f"view-{protocol}", *words)

    def start(self, place: str, title: str, *command: str) -> Path:
        log = self._folder / f"{place}-{title}.log"
        with log.open("w") as file:
            scenario = self._folder / "scenario"
            child = subprocess.Popen(
                ["ip", "netns", "exec", self._space(place), *command],
                cwd=ROOT,
                env=os.environ | variables(library_folder(), scenario),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)
        return log

    def _add(self, place: str) -> None:
        call("ip", "netns", "add", self._space(place))
        call("ip", "-n", self._space(place), "link", "set", "lo", "up")

    def _space(self, place: str) -> str:
        return f"{self._id}-{place}"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    (tmp_path / "scenario").write_text(GPUS)
    with ExitStack() as stack:
        yield Town(tmp_path, stack)


def read(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines), log.read_text()
    return [json.loads(line) for line in lines]


def test_viewers_behind_slow_lines_get_consistent_data_and_delay_no_other(
    town: Town, figures: dict[str, object]
) -> None:
    thin, json_thin, lossy = town.line(*THIN), town.line(*THIN), town.line(*LOSSY)
    place, broker = town.line(*THIN)
    town.command("server", "demo", "--hosts", str(HOSTS), web_bind="*", web_port=8042)
    own = {"web_port": 8052, "rpc_port": 8053, "updates_port": 8054}
    host = broker.removesuffix("1") + "2"
    town.command("server", "broker", **own, hosts=[host], rpc_bind="*")
    town.command("server", "web", **own)
    town.command(place, "collector", broker=broker, rpc_port=8053)
    time.sleep(3)
    few = ",".join(f"node{number:02d}" for number in range(1, 31))
    good = town.view("server", "http://127.0.0.1:8042/ws", DEFLATE)
    viewers = {
        "deflate, 64 kbit/s": town.view(thin[0], f"http://{thin[1]}:8042/ws", DEFLATE),
        "JSON of 30 hosts, 64 kbit/s": town.view(
            json_thin[0], f"http://{json_thin[1]}:8042/ws?hosts={few}", JSON
        ),
        "deflate, 2 Mbit/s, 0.6 s there and back, 5 % lost": town.view(
            lossy[0], f"http://{lossy[1]}:8042/ws", DEFLATE
        ),
    }
    collected = town.view("server", "http://127.0.0.1:8052/ws", JSON)
    time.sleep(SECONDS)

    lines = read(good)
    gaps = [later["at"] - earlier["at"] for earlier, later in itertools.pairwise(lines)]
    figures["beside slow lines: longest wait of a fast viewer, seconds"] = round(max(gaps), 2)
    assert max(gaps) < 2 and {each["type"] for each in lines[1:]} == {"patch"}
    for name, log in viewers.items():
        lines = read(log)
        assert lines[0]["type"] == "fleet" and "lost" not in {each["type"] for each in lines}
        oldest = max(each["age"] for each in lines)
        figures[f"{HOSTS} hosts, {name}: oldest message, seconds"] = round(oldest, 1)
        assert oldest < SECONDS
    states = [each["states"][host] for each in read(collected) if host in each["states"]]
    assert states in (["live"], ["missing", "live"])
