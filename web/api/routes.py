"""The HTTP paths below api/v1, the metrics, and what tells whether this server is well."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from gpu_monitor.web.api.exposition import OPENMETRICS, TEXT, begin, prefers_openmetrics, write
from gpu_monitor.web.api.free_gpus import Offer, Wanted, find
from gpu_monitor.web.api.metrics import metrics, viewers
from gpu_monitor.web.api.response_cache import Once
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.redaction import see_host, see_recent
from gpu_monitor.web.errors import Wrong
from gpu_monitor.web.stream.encodings import encode_document, encode_json
from gpu_monitor.web.stream.hub import Hub
from gpu_monitor.wire.replica import Replica

_COMPRESS_FROM_BYTES = 1024
_MAX_GPUS = 64
_MAX_MEMORY_GIB = 1_000_000.0
_MAX_MODEL = 200


Recent: TypeAlias = Callable[[str], Awaitable[dict[str, Any] | None]]
"""Asks the broker for the last hour of a host, or of the totals for ""."""


class Api:
    """Handlers over the document that `replica` holds; `clock` is the clock it is told by.

    Each is told who asks by request[PERSON], and answers what that person's role may see.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Callable[[], float],
        recent: Recent,
        ticket: Callable[[web.Request], str],
        hub: Hub,
    ) -> None:
        self._recent = recent
        self._replica = replica
        self._clock = clock
        self._ticket = ticket
        self._hub = hub
        self._once = Once(replica)

    def routes(self) -> dict[str, Callable[[web.Request], Any]]:
        """Path, relative to where the server is mounted, -> handler of GET."""
        return {
            "healthz": self.healthz,
            "readyz": self.readyz,
            "metrics": self.metrics,
            "api/v1/fleet": self.fleet,
            "api/v1/hosts/{name}": self.host,
            "api/v1/hosts/{name}/recent": self.recent,
            "api/v1/recent": self.recent,
            "api/v1/users": self.users,
            "api/v1/free": self.free,
            "api/v1/ticket": self.ticket,
        }

    async def healthz(self, request: web.Request) -> web.Response:
        """This process serves; the broker may be lost."""
        return respond(request, {"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """What is shown is live."""
        self._must_be_heard()
        return respond(request, {"status": "ready"})

    async def fleet(self, request: web.Request) -> web.Response:
        """The document."""
        body = await self._once.made("fleet", request[PERSON].role, encode_document)
        return respond_bytes(request, body)

    async def metrics(self, request: web.Request) -> web.Response:
        """The document and this server for Prometheus; of a lost broker it tells just that."""
        openmetrics = prefers_openmetrics(",".join(request.headers.getall("Accept", [])))
        kind = OPENMETRICS if openmetrics else TEXT
        body = await self._once.made(
            kind, request[PERSON].role, lambda seen: write(metrics(seen), openmetrics=openmetrics)
        )
        hub = self._hub
        own = begin(viewers(len(hub), hub.cut, hub.refused), openmetrics=openmetrics)
        return respond_bytes(request, own + body, content_type=kind)

    async def host(self, request: web.Request) -> web.Response:
        """One host; while the broker is lost, no host is live."""
        name = request.match_info["name"]
        host = self._replica.document["hosts"].get(name)
        if host is None:
            if not self._replica.ever_synced:
                self._must_be_heard()
            raise Wrong(404, f"there is no host {name!r}", "see api/v1/fleet for the hosts")
        if self._replica.lost and host["state"] == "live":
            host = {**host, "state": "stale"}
        return respond(request, see_host(host, request[PERSON].role))

    async def recent(self, request: web.Request) -> web.Response:
        """The last sixty minutes of a host's GPUs, or of the fleet's totals."""
        self._must_be_heard()
        name = request.match_info.get("name", "")
        if name and name not in self._replica.document["hosts"]:
            raise Wrong(404, f"there is no host {name!r}", "see api/v1/fleet for the hosts")
        try:
            answer = await self._recent(name)
        except asyncio.TimeoutError:
            hint = "see that it is not older than this web server"
            raise Wrong(503, "the broker does not tell of the last hour", hint) from None
        if answer is None:
            raise Wrong(
                404, f"{name!r} was never heard", "its last hour begins with its first word"
            )
        return respond(request, see_recent(answer, request[PERSON].role))

    async def users(self, request: web.Request) -> web.Response:
        """Who uses how much of the live hosts."""
        if request[PERSON].role == "counts":
            raise Wrong(403, "your role sees no users", "ask for the role names")
        self._must_be_heard()
        return respond(request, self._replica.document["users"])

    async def free(self, request: web.Request) -> web.Response:
        """Hosts that have the wanted GPUs now."""
        wanted = read_wanted(request.query)
        self._must_be_heard()
        document = self._replica.document
        offers = find(document["hosts"], wanted)
        if _prefers_text(request):
            lines = "".join(f"{offer.host} {offer.devices}\n" for offer in offers)
            return web.Response(text=lines, headers={"Cache-Control": "no-store"})
        answer = {
            "now": document["now"],
            "gpus": wanted.gpus,
            "memory_gib": wanted.memory_gib,
            "model": wanted.model,
            "hosts": [describe(offer) for offer in offers],
        }
        return respond(request, answer)

    async def ticket(self, request: web.Request) -> web.Response:
        """For one websocket of the page that asks."""
        return respond(request, {"ticket": self._ticket(request)})

    def _must_be_heard(self) -> None:
        replica = self._replica
        if not replica.lost:
            return
        reason = replica.refusal
        if not reason:
            seconds = replica.silent_seconds(self._clock())
            reason = f"the broker has not been heard for {seconds:.0f} s"
            if not replica.ever_synced:
                reason = f"the broker has not been heard since the start {seconds:.0f} s ago"
        raise Wrong(503, reason, "see that the broker runs and that updates_port can be reached")


def read_wanted(query: Mapping[str, str]) -> Wanted:
    """The parameters of api/v1/free; Wrong names the one that is not right."""
    for key in query:
        if key not in ("gpus", "memory_gib", "model"):
            raise Wrong(400, f"unknown parameter {key!r}", "use gpus, memory_gib, model")
    gpus = query.get("gpus", "1")
    if not (gpus.isascii() and gpus.isdigit() and len(gpus) < 4 and 1 <= int(gpus) <= _MAX_GPUS):
        raise Wrong(400, f"gpus={gpus[:20]!r} is no such number", f"1 to {_MAX_GPUS}, as gpus=2")
    memory = _read_number(query.get("memory_gib", "0"))
    if not 0 <= memory <= _MAX_MEMORY_GIB:
        shown = query["memory_gib"][:20]
        hint = "GiB that must be free on each GPU, as memory_gib=40"
        raise Wrong(400, f"memory_gib={shown!r} is no such number", hint)
    model = query.get("model", "").strip()
    if len(model) > _MAX_MODEL:
        raise Wrong(400, "model is too long", "a part of the GPU's name, as model=H100")
    return Wanted(int(gpus), memory, model)


def describe(offer: Offer) -> dict[str, Any]:
    """An offer as JSON; what is not known is null."""
    gpus = [
        {
            "index": gpu.index,
            "uuid": gpu.uuid,
            "name": gpu.name,
            "mig_profile": gpu.mig_profile,
            "memory_free_mib": gpu.memory_free_mib,
            "unhealthy": gpu.unhealthy,
        }
        for gpu in offer.gpus
    ]
    return {
        "host": offer.host,
        "cuda_visible_devices": offer.devices,
        "left_over": offer.left_over,
        "gpus": gpus,
    }


def respond(
    request: web.Request,
    answer: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """`answer` as JSON that no cache keeps."""
    return respond_bytes(request, encode_json(answer), status, headers)


def respond_bytes(
    request: web.Request,
    body: bytes,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> web.Response:
    """Bytes that no cache keeps, compressed as the client accepts where that pays."""
    own = {"Content-Type": content_type, "Cache-Control": "no-store"}
    response = web.Response(
        body=body, status=status, headers={**(headers or {}), **own}, zlib_executor_size=64 * 1024
    )
    if len(body) >= _COMPRESS_FROM_BYTES:
        response.enable_compression()
    return response


def _read_number(text: str) -> float:
    """A decimal number, or NaN."""
    try:
        return float(text) if text.isascii() else math.nan
    except ValueError:
        return math.nan


def _prefers_text(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "")
    return "text/plain" in accept and "json" not in accept
