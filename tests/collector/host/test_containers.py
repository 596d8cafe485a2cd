"""Names of containers: asked over a real Unix socket, waited for by nobody."""

import contextlib
import http.client
import json
import logging
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.host import containers
from gpu_monitor.collector.host.containers import (
    ASK_AGAIN_SECONDS,
    KEPT_SECONDS,
    Containers,
    names,
    running,
)
from gpu_monitor.collector.host.processes import REFRESH_SECONDS
from gpu_monitor.commands.check import findings
from gpu_monitor.config.keys import Config
from tests.collector.host.test_processes import NO_SUCH_PID, table, write_process
from tests.support.house import PATIENCE_SECONDS, eventually
from tests.support.proxies import find_program, readme_blocks

JUPYTER, BATCH = "0123456789abcdef" * 4, "fedcba9876543210" * 4
DOCKER = [
    {
        "Id": JUPYTER,
        "Names": ["/other/linked", "/jupyter-alice"],
        "Image": "jupyter",
        "State": "running",
    },
    {"Id": BATCH, "Names": ["/batch_7"], "Image": "batch", "State": "running"},
]
PODMAN = [{"Id": JUPYTER, "Names": ["/jupyter-alice"], "Pod": "", "Labels": None}]
KNOWN = {JUPYTER[:12]: "jupyter-alice", BATCH[:12]: "batch_7"}
Answer: TypeAlias = "tuple[int, bytes]"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Callable[[int, object], str]]:
    """What answers at a Unix socket as a container runtime does, with what it is told to."""
    servers: list[socketserver.UnixStreamServer] = []

    def start(status: int, answer: object) -> str:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self) -> str:
                return "a Unix socket"

            def do_GET(self) -> None:
                self.send_response(status if self.path == "/containers/json" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        path = str(tmp_path / f"runtime-{len(servers)}.sock")
        server = socketserver.ThreadingUnixStreamServer(path, Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return path

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that answers is waited for, however busy the machine."""
    monkeypatch.setattr(containers, "PATIENCE_SECONDS", PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (DOCKER, KNOWN),
        (PODMAN, {JUPYTER[:12]: "jupyter-alice"}),
        ([], {}),
        ([{"Id": JUPYTER, "Names": None}, {"Id": BATCH, "Names": ["/"]}], {}),
        ([{"Id": JUPYTER, "Names": ["/a\u202eb\n<c>"]}], {JUPYTER[:12]: "ab <c>"}),
    ],
)
def test_what_a_runtime_answers_are_names(
    runtime: Callable[[int, object], str], answer: object, known: dict[str, str]
) -> None:
    assert running(runtime(200, answer)) == known


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (403, b"", "it answers with 403 instead of its containers"),
        (200, b"{", "its answer is no list of containers"),
        (200, {"message": "no"}, "its answer is no list of containers"),
        (200, [{"Id": 7, "Names": ["/a"]}], "its answer is no list of containers"),
        (200, [{"Id": JUPYTER, "Names": [7]}], "its answer is no list of containers"),
        (200, b"[" * 100_000, "its answer is no list of containers"),
    ],
)
def test_what_is_no_runtime_is_refused_in_words(
    runtime: Callable[[int, object], str], status: int, answer: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        running(runtime(status, answer))


def test_an_answer_without_end_is_not_read_to_the_end(
    runtime: Callable[[int, object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="more containers than this collector reads"):
        running(runtime(200, DOCKER))


def test_what_does_not_speak_http_or_does_not_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "TIMEOUT_SECONDS", 0.05)
    path = str(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        running(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        with pytest.raises(ConnectionRefusedError):
            running(path)
        server.listen()
        with pytest.raises(TimeoutError):
            running(path)

        def answer() -> None:
            server.accept()[0].close()  # the one that was not answered
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        monkeypatch.setattr(containers, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ValueError, match="does not speak HTTP"):
            running(path)
        thread.join()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Id", "Names", "State"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_answered_is_names_or_refused(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(word, str) for pair in names(body).items() for word in pair)


def test_without_a_socket_nobody_is_asked() -> None:
    asked: list[str] = []
    containers = Containers("", lambda path: asked.append(path) or {})  # type: ignore[func-returns-value]
    assert containers.name(JUPYTER[:12], 0.0) == JUPYTER[:12]
    assert asked == []


@pytest.mark.usefixtures("patient")
def test_a_container_has_its_name_and_a_process_outside_none(
    runtime: Callable[[int, object], str],
) -> None:
    containers = Containers(runtime(200, DOCKER))
    assert containers.name(JUPYTER[:12], 0.0) == "jupyter-alice"
    assert containers.name("aaaaaaaaaaaa", 0.0) == "aaaaaaaaaaaa"
    assert containers.name(None, 0.0) is None


@pytest.mark.usefixtures("patient")
def test_an_unknown_container_is_asked_for_sooner_than_a_known_one() -> None:
    asked: list[str] = []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        return dict(list(KNOWN.items())[: len(asked)])

    containers = Containers("/socket", ask)
    times = (0.0, 1.0, ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS + KEPT_SECONDS - 1)
    found = [containers.name(BATCH[:12], now) for now in times]
    assert found == [BATCH[:12], BATCH[:12], "batch_7", "batch_7"]
    assert len(asked) == 2
    containers.name(BATCH[:12], ASK_AGAIN_SECONDS + KEPT_SECONDS)
    assert len(asked) == 3


def test_a_silent_runtime_holds_up_nothing_and_the_last_names_stand() -> None:
    answer, asked = threading.Event(), []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        if len(asked) > 1:
            answer.wait(PATIENCE_SECONDS)
        return KNOWN

    containers = Containers("/socket", ask)
    containers.name(JUPYTER[:12], 0.0)
    eventually(lambda: containers.name(JUPYTER[:12], 1.0) == "jupyter-alice", "the name")
    found = [containers.name(JUPYTER[:12], KEPT_SECONDS * times) for times in (1, 2, 3)]
    answer.set()
    assert found == ["jupyter-alice"] * 3 and len(asked) == 2


@pytest.mark.usefixtures("patient")
def test_a_runtime_that_fails_is_said_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    path = str(tmp_path / "none.sock")
    asked: list[str] = []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        return running(path) if len(asked) < 3 else KNOWN

    containers = Containers(path, ask)
    found = [containers.name(JUPYTER[:12], KEPT_SECONDS * times) for times in range(4)]
    assert found == [JUPYTER[:12], JUPYTER[:12], "jupyter-alice", "jupyter-alice"]
    assert caplog.messages == [
        f"names of containers: {path}: no such file or directory",
        f"names of containers: {path} answers",
    ]


@pytest.mark.usefixtures("patient")
def test_a_process_is_shown_in_its_container_by_name(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    write_process(tmp_path, group=f"0::/system.slice/docker-{BATCH}.scope\n")
    processes = table(proc=str(tmp_path), containers=Containers(runtime(200, DOCKER)))
    assert processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].container == "batch_7"


def test_a_container_without_a_name_has_one_when_its_process_is_read_again(
    tmp_path: Path,
) -> None:
    answer = threading.Event()

    def ask(path: str) -> dict[str, str]:
        answer.wait(PATIENCE_SECONDS)
        return KNOWN

    containers = Containers("/socket", ask)
    write_process(tmp_path, group=f"0::/system.slice/docker-{BATCH}.scope\n")
    processes = table(proc=str(tmp_path), containers=containers)
    assert processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].container == BATCH[:12]
    answer.set()
    eventually(lambda: containers.name(BATCH[:12], 0.0) == "batch_7", "the name")
    found = processes.facts([NO_SUCH_PID], REFRESH_SECONDS)[NO_SUCH_PID]
    assert found.container == "batch_7"


def lines(socket: str) -> list[str]:
    found = findings(Config(container_socket=socket), None, "collector")
    return [str(finding) for finding in found if "containers:" in str(finding)]


def test_check_tells_whether_names_come(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    path, gone = runtime(200, DOCKER), tmp_path / "gone.sock"
    assert lines("") == []
    assert lines(path) == [f"ok   containers: 2 running, with names from {path}"]
    said = f"FAIL containers: {gone}: no such file or directory; check its permissions"
    assert lines(str(gone)) == [said]


@pytest.mark.processes
def test_through_nginx_as_the_handbook_has_it_only_the_list_passes(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    (block,) = readme_blocks("nginx", "docs/operations.md")
    narrow = str(tmp_path / "names.sock")
    block = block.replace("/run/docker.sock", runtime(200, DOCKER))
    block = block.replace("/run/container-names.sock", narrow)
    paths = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log stderr;"
        f"events {{}} http {{ access_log off; {paths} {block} }}"
    )
    command = [find_program("nginx"), "-p", str(tmp_path), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
        try:
            eventually(lambda: os.path.exists(narrow), "nginx")
            assert eventually(lambda: running(narrow), "names") == KNOWN
            asked = [
                ("POST", "/containers/json"),
                ("GET", "/containers/create"),
                ("POST", "/containers/create"),
                ("GET", "/containers/json/../create"),
            ]
            for method, path in asked:
                connection = http.client.HTTPConnection("localhost")
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(narrow)
                connection.request(method, path)
                assert connection.getresponse().status == 403, (method, path)
                connection.close()
        finally:
            nginx.terminate()
