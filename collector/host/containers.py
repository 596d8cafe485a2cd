"""Names of containers, from Docker or Podman where config.yml names their socket."""

import logging
from collections.abc import Callable
from concurrent.futures import Future

from gpu_monitor.collector.host.command_line import clean
from gpu_monitor.collector.source_guard import SourceGuard, failure_text
from gpu_monitor.wire.slow_lookup import answered, slow_lookup, wait_for

CONTAINER_NAMES_SECONDS = 60.0
UNKNOWN_CONTAINER_SECONDS = 5.0
"""How long an answer of the runtime counts: for a container that it named, and for another."""
CONTAINER_LOOKUP_PATIENCE = 0.05
"""Seconds that a sample waits for names."""
RUNTIME_TIMEOUT_SECONDS = 2.0
MAX_ANSWER_BYTES = 8 << 20
ID_DIGITS = 12

log = logging.getLogger(__name__)


class ContainerNames:
    """The first 12 digits of a container's id -> its name; for one thread.

    The runtime is asked for all running containers, one question at a time. While it does not
    answer the last known names are used, and the digits where there is none. Without a `path` it
    is never asked. `patience` (seconds) is how long `resolve` waits for an answer.
    """

    def __init__(
        self,
        path: str = "",
        ask: "Callable[[str], dict[str, str]] | None" = None,
        patience: float = CONTAINER_LOOKUP_PATIENCE,
        guard: SourceGuard | None = None,
    ) -> None:
        self._guard = guard or SourceGuard()
        self._path = path
        self._ask = ask or running_containers
        self._patience = patience
        self._names: dict[str, str] = {}
        self._asked_at: float | None = None
        self._failure = ""
        self._lookup: Future[None] = answered(None)

    def resolve(self, container: str | None, now: float) -> str | None:
        """The container's name, or `container` itself; `now` in monotonic seconds."""
        if container is None or not self._path:
            return container
        is_known = container in self._names
        seconds = CONTAINER_NAMES_SECONDS if is_known else UNKNOWN_CONTAINER_SECONDS
        due = self._asked_at is None or now - self._asked_at >= seconds
        if due and self._lookup.done():
            self._asked_at = now
            self._lookup = slow_lookup(self._learn, thread_name="containers")
            wait_for(self._lookup, self._patience)
        return self._names.get(container, container)

    def _learn(self) -> None:
        try:
            self._names = self._ask(self._path)
        except Exception as error:
            self._log_change(words := failure_words(error))
            self._guard.count_failure(f"{self._path} (container names)", words)
        else:
            self._log_change("")
            self._guard.count_success(f"{self._path} (container names)")

    def _log_change(self, failure: str) -> None:
        """One line when names become unavailable, for another reason, or available again."""
        if failure == self._failure:
            return
        self._failure = failure
        if failure:
            log.warning("no container names from %s: %s", self._path, failure)
        else:
            log.info("container names from %s are available again", self._path)


def failure_words(error: Exception) -> str:
    """Why names are not available, in words."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error) if isinstance(error, ValueError) else failure_text(error)


def running_containers(
    path: str, timeout: float = RUNTIME_TIMEOUT_SECONDS, max_bytes: int = MAX_ANSWER_BYTES
) -> dict[str, str]:
    """The first digits of each running container's id, and its name.

    `GET /containers/json` of the Docker Engine API, which Podman's service supports too. OSError
    when the socket cannot be used, ValueError when no container runtime answers. `timeout` in
    seconds, for each step.
    """
    import http.client  # only where it is configured: it loads a megabyte
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout)
    try:
        connection.sock.connect(path)
        connection.request("GET", "/containers/json")
        answer = connection.getresponse()
        body = answer.read(max_bytes + 1)
    except http.client.HTTPException:
        raise ValueError("the server there does not speak HTTP") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"the answer has status {answer.status} instead of the containers")
    if len(body) > max_bytes:
        raise ValueError("the answer is longer than this collector reads")
    return parse_names(body)


def parse_names(body: bytes) -> dict[str, str]:
    """Ids and names from the answer to `GET /containers/json`; ValueError for anything else."""
    import json

    try:
        entries = json.loads(body)
        return {
            entry["Id"][:ID_DIGITS]: name
            for entry in entries
            if (name := _own_name(entry["Names"] or [""]))
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("the answer is not a list of containers") from None


def _own_name(names: list[str]) -> str:
    """Its own name, not one that another container links to it by, which has a second slash."""
    return clean(min(names, key=lambda name: name.count("/")).lstrip("/"))
