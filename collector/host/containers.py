"""Names of containers, from Docker or Podman where config.yml names their socket."""

import logging
import threading
from collections.abc import Callable

from gpu_monitor.collector.host.command_line import clean

KEPT_SECONDS = 60.0
ASK_AGAIN_SECONDS = 5.0
"""While a container is not among those that were named."""
PATIENCE_SECONDS = 0.05
TIMEOUT_SECONDS = 2.0
MAX_BYTES = 8 << 20
DIGITS = 12

log = logging.getLogger(__name__)


class Containers:
    """The first 12 digits of a container's id -> its name.

    The runtime is asked for all that run, one question at a time and in a thread of its own:
    while it is silent the last known names stand, and the digits where there is none. Without a
    `path` nobody is asked. Used by one thread.
    """

    def __init__(
        self, path: str = "", ask: "Callable[[str], dict[str, str]] | None" = None
    ) -> None:
        self._path = path
        self._ask = ask or running
        self._names: dict[str, str] = {}
        self._asked_at: float | None = None
        self._said = ""
        self._answered = threading.Event()
        self._answered.set()

    def name(self, container: str | None, now: float) -> str | None:
        """The container's name, or `container` itself; `now` in monotonic seconds."""
        if container is None or not self._path:
            return container
        kept = KEPT_SECONDS if container in self._names else ASK_AGAIN_SECONDS
        due = self._asked_at is None or now - self._asked_at >= kept
        if due and self._answered.is_set():
            self._asked_at = now
            self._answered.clear()
            threading.Thread(target=self._learn, name="containers", daemon=True).start()
            self._answered.wait(PATIENCE_SECONDS)
        return self._names.get(container, container)

    def _learn(self) -> None:
        try:
            self._names = self._ask(self._path)
            self._say("")
        except (OSError, ValueError) as error:
            self._say(why(error))
        finally:
            self._answered.set()

    def _say(self, words: str) -> None:
        """One line when names can no longer be had, when they can again, or when the reason is
        another."""
        if words == self._said:
            return
        self._said = words
        if words:
            log.warning("names of containers: %s: %s", self._path, words)
        else:
            log.info("names of containers: %s answers", self._path)


def why(error: Exception) -> str:
    """In words, why names cannot be had."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def running(path: str) -> dict[str, str]:
    """All containers that run: the first digits of each id, and the name.

    `GET /containers/json` of the Docker Engine API, which Podman's service speaks too. OSError
    when the socket cannot be used, ValueError when what answers is no container runtime.
    """
    import http.client  # only where it is wanted: it loads a megabyte
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(TIMEOUT_SECONDS)
    try:
        connection.sock.connect(path)
        connection.request("GET", "/containers/json")
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES + 1)
    except http.client.HTTPException:
        raise ValueError("what answers there does not speak HTTP") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"it answers with {answer.status} instead of its containers")
    if len(body) > MAX_BYTES:
        raise ValueError("it names more containers than this collector reads")
    return names(body)


def names(body: bytes) -> dict[str, str]:
    """The answer to `GET /containers/json`: ids and names; ValueError for anything else."""
    import json

    try:
        entries = json.loads(body)
        return {
            entry["Id"][:DIGITS]: name
            for entry in entries
            if (name := _name(entry["Names"] or [""]))
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("its answer is no list of containers") from None


def _name(written: list[str]) -> str:
    """Its own name and not one that another container has for it, which has a slash in it."""
    return clean(min(written, key=lambda name: name.count("/")).lstrip("/"))
