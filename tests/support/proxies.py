"""nginx and Caddy for tests: in the foreground, on free ports, ended with the test."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.house import PATIENCE_SECONDS, ROOT, eventually, free_ports

FETCHED = ROOT / "build" / "programs"
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:{port};
        {block}
    }}
}}
"""
NAME = "gpus.example.org"
"""Caddy serves only the name of its site, nginx any name."""
KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
CADDY = """
{{
    admin off
}}
{block}
"""


def fenced_block(label: str, page: str = "docs/security.md") -> str:
    """The only fenced block with that label, so that tests run what the page recommends."""
    fence = rf"^```{label}\n(.*?)^```$"
    (block,) = re.findall(fence, (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def find_program(name: str) -> str:
    """The path of a program; skips the test if `make test` could not fetch it."""
    places = [FETCHED / "usr" / folder / name for folder in ("sbin", "bin")]
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    for path in (found, *places):
        if path is not None and os.access(path, os.X_OK):
            return str(path)
    reason = FETCHED / f"{name}.absent"
    if reason.exists():
        pytest.skip(reason.read_text().strip())
    raise AssertionError(f"{name} is missing: make test fetches it")


@contextmanager
def proxy(
    program: str,
    block: str,
    web_port: int,
    folder: Path,
    address: str = "127.0.0.1",
    launcher: Sequence[str] = (),
) -> Iterator[str]:
    """Run a proxy, configured by `block`, in front of the web server; return its origin.

    `launcher` is a prefix for the command, to start it elsewhere in the network.
    """
    (port,) = free_ports(1)
    origin = f"http://{address}:{port}"
    named = f"http://{NAME}:{port}"
    block = block.replace(":8042", f":{web_port}").replace("example.com", f"{origin}, {named}")
    config = folder / f"{program}.conf"
    if program == "nginx":
        config.write_text(NGINX.format(folder=folder, address=address, port=port, block=block))
        arguments = ["-p", str(folder), "-c", str(config)]
    else:
        config.write_text(CADDY.format(block=block))
        arguments = ["run", "--adapter", "caddyfile", "--config", str(config)]
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
    log = folder / f"{program}.log"
    with log.open("w") as out:
        command = [*launcher, find_program(program), *arguments]
        process = subprocess.Popen(command, env=os.environ | homes, stdout=out, stderr=out)
    try:
        knock = [*launcher, sys.executable, "-c", KNOCK, address, str(port)]
        eventually(
            lambda: (
                process.poll() is not None or subprocess.call(knock, stderr=subprocess.DEVNULL) == 0
            ),
            f"{program} to listen",
        )
        assert process.poll() is None, f"{program} has ended:\n{log.read_text()}"
        yield origin
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)
