"""Names of containers, requested over a real Unix socket without waiting for the answer."""

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

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.host.containers import (
    CONTAINER_NAMES_SECONDS,
    UNKNOWN_CONTAINER_SECONDS,
    ContainerNames,
    parse_names,
    running_containers,
)
from gpu_monitor.collector.host.processes import PROCESS_REFRESH_SECONDS
from gpu_monitor.collector.source_guard import SourceGuard
from gpu_monitor.commands.check import report_lines
from gpu_monitor.config.keys import Config
from tests.support.house import PATIENCE_SECONDS, eventually
from tests.support.processes import NO_SUCH_PID, table, write_process
from tests.support.proxies import fenced_block, find_program

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
    """Starts servers on Unix sockets that answer like a container runtime, as given."""
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


def patient(path: str, ask: Callable[[str], dict[str, str]] = running_containers) -> ContainerNames:
    """Waits for every answer, however busy the machine."""
    return ContainerNames(path, ask, PATIENCE_SECONDS)


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
def test_a_runtimes_answer_becomes_names(
    runtime: Callable[[int, object], str], answer: object, known: dict[str, str]
) -> None:
    assert running_containers(runtime(200, answer)) == known


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (403, b"", "the answer has status 403 instead of the containers"),
        (200, b"{", "the answer is not a list of containers"),
        (200, {"message": "no"}, "the answer is not a list of containers"),
        (200, [{"Id": 7, "Names": ["/a"]}], "the answer is not a list of containers"),
        (200, [{"Id": JUPYTER, "Names": [7]}], "the answer is not a list of containers"),
        (200, b"[" * 100_000, "the answer is not a list of containers"),
    ],
)
def test_an_answer_from_another_server_is_refused_with_the_reason(
    runtime: Callable[[int, object], str], status: int, answer: object, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        running_containers(runtime(status, answer))


def test_an_endless_answer_is_read_only_up_to_a_limit(
    runtime: Callable[[int, object], str],
) -> None:
    with pytest.raises(ValueError, match="longer than this collector reads"):
        running_containers(runtime(200, DOCKER), max_bytes=10)


def test_a_server_that_is_silent_or_does_not_speak_http_is_refused(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        running_containers(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        with pytest.raises(ConnectionRefusedError):
            running_containers(path)
        server.listen()
        with pytest.raises(TimeoutError):
            running_containers(path, timeout=0.05)

        def answer() -> None:
            server.accept()[0].close()  # the request that was not answered
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ValueError, match="does not speak HTTP"):
            running_containers(path, timeout=PATIENCE_SECONDS)
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
def test_every_answer_becomes_names_or_is_refused(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(word, str) for pair in parse_names(body).items() for word in pair)


def test_without_a_socket_no_runtime_is_queried() -> None:
    asked: list[str] = []
    containers = ContainerNames("", lambda path: asked.append(path) or {})  # type: ignore[func-returns-value]
    assert containers.resolve(JUPYTER[:12], 0.0) == JUPYTER[:12]
    assert asked == []


def test_a_container_has_its_name_and_a_process_outside_one_has_none(
    runtime: Callable[[int, object], str],
) -> None:
    containers = patient(runtime(200, DOCKER))
    assert containers.resolve(JUPYTER[:12], 0.0) == "jupyter-alice"
    assert containers.resolve("aaaaaaaaaaaa", 0.0) == "aaaaaaaaaaaa"
    assert containers.resolve(None, 0.0) is None


def test_an_unknown_container_is_looked_up_sooner_than_a_known_one() -> None:
    asked: list[str] = []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        return dict(list(KNOWN.items())[: len(asked)])

    containers = patient("/socket", ask)
    times = (
        0.0,
        1.0,
        UNKNOWN_CONTAINER_SECONDS,
        UNKNOWN_CONTAINER_SECONDS + CONTAINER_NAMES_SECONDS - 1,
    )
    found = [containers.resolve(BATCH[:12], now) for now in times]
    assert found == [BATCH[:12], BATCH[:12], "batch_7", "batch_7"]
    assert len(asked) == 2
    containers.resolve(BATCH[:12], UNKNOWN_CONTAINER_SECONDS + CONTAINER_NAMES_SECONDS)
    assert len(asked) == 3


def test_a_silent_runtime_delays_nothing_and_the_last_names_are_kept() -> None:
    answer, asked = threading.Event(), []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        if len(asked) > 1:
            answer.wait(PATIENCE_SECONDS)
        return KNOWN

    containers = ContainerNames("/socket", ask)
    containers.resolve(JUPYTER[:12], 0.0)
    eventually(lambda: containers.resolve(JUPYTER[:12], 1.0) == "jupyter-alice", "the name")
    found = [
        containers.resolve(JUPYTER[:12], CONTAINER_NAMES_SECONDS * times) for times in (1, 2, 3)
    ]
    answer.set()
    assert found == ["jupyter-alice"] * 3 and len(asked) == 2


def test_a_failing_runtime_and_its_return_are_logged_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    path = str(tmp_path / "none.sock")
    asked: list[str] = []

    def ask(path: str) -> dict[str, str]:
        asked.append(path)
        return running_containers(path) if len(asked) < 3 else KNOWN

    containers = patient(path, ask)
    found = [
        containers.resolve(JUPYTER[:12], CONTAINER_NAMES_SECONDS * times) for times in range(4)
    ]
    assert found == [JUPYTER[:12], JUPYTER[:12], "jupyter-alice", "jupyter-alice"]
    assert caplog.messages == [
        f"no container names from {path}: no such file or directory",
        f"container names from {path} are available again",
    ]


def test_a_runtime_that_keeps_failing_is_a_problem_whatever_it_raises() -> None:
    def ask(path: str) -> dict[str, str]:
        raise AssertionError("deep in a library")

    guard = SourceGuard()
    containers = ContainerNames("/socket", ask, PATIENCE_SECONDS, guard)
    names: list[str | None] = []
    found: list[Finding] = []
    for second in range(3):
        names.append(containers.resolve(BATCH[:12], second * UNKNOWN_CONTAINER_SECONDS))
        found = guard.settle()

    assert names == [BATCH[:12]] * 3
    words = "AssertionError: deep in a library"
    assert [finding.line for finding in found] == [
        f"/socket (container names) cannot be read: {words}"
    ]


def test_a_process_has_the_name_of_its_container(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    write_process(tmp_path, group=f"0::/system.slice/docker-{BATCH}.scope\n")
    processes = table(proc=str(tmp_path), containers=patient(runtime(200, DOCKER)))
    assert processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].container == "batch_7"


def test_a_container_has_its_name_once_its_process_is_read_again(
    tmp_path: Path,
) -> None:
    answer = threading.Event()

    def ask(path: str) -> dict[str, str]:
        answer.wait(PATIENCE_SECONDS)
        return KNOWN

    containers = ContainerNames("/socket", ask)
    write_process(tmp_path, group=f"0::/system.slice/docker-{BATCH}.scope\n")
    processes = table(proc=str(tmp_path), containers=containers)
    assert processes.facts([NO_SUCH_PID], 0.0)[NO_SUCH_PID].container == BATCH[:12]
    answer.set()
    eventually(lambda: containers.resolve(BATCH[:12], 0.0) == "batch_7", "the name")
    found = processes.facts([NO_SUCH_PID], PROCESS_REFRESH_SECONDS)[NO_SUCH_PID]
    assert found.container == "batch_7"


def lines(socket: str) -> list[str]:
    found = report_lines(Config(container_socket=socket), None, "collector")
    return [str(finding) for finding in found if "containers:" in str(finding)]


def test_check_reports_whether_names_are_available(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    path, gone = runtime(200, DOCKER), tmp_path / "gone.sock"
    assert lines("") == []
    assert lines(path) == [f"ok   containers: 2 running, with names from {path}"]
    failure = f"FAIL containers: {gone}: no such file or directory; check its permissions"
    assert lines(str(gone)) == [failure]


@pytest.mark.processes
def test_the_documented_nginx_passes_only_the_list_of_containers(
    runtime: Callable[[int, object], str], tmp_path: Path
) -> None:
    block = fenced_block("nginx", "docs/operations.md")
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
            assert eventually(lambda: running_containers(narrow), "names") == KNOWN
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
