"""The handlers of the HTTP API: everything below api/v1, metrics, health and readiness."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from gpu_monitor.web.api.exposition import (
    OPENMETRICS,
    TEXT,
    prefers_openmetrics,
    render,
    render_families,
)
from gpu_monitor.web.api.free_gpus import find_offers
from gpu_monitor.web.api.free_query import offer_as_json, parse_wanted
from gpu_monitor.web.api.metrics import fleet_metrics, viewer_metrics
from gpu_monitor.web.api.response_cache import ResponseCache
from gpu_monitor.web.api.responses import respond, respond_bytes
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.redaction import redact_host, redact_recent
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.stream.encodings import encode_document
from gpu_monitor.web.stream.hub import Hub
from gpu_monitor.wire.replica import Replica

Recent: TypeAlias = Callable[[str], Awaitable[dict[str, Any] | None]]
"""Asks the broker for the last hour of a host, or of the totals for ""."""


class Api:
    """Handlers over the document in `replica`, whose clock is `clock`.

    The caller is request[PERSON]; each handler answers with what that person's role may see.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Callable[[], float],
        recent: Recent,
        issue_ticket: Callable[[web.Request], str],
        hub: Hub,
        rejected: Mapping[str, int],
    ) -> None:
        self._recent = recent
        self._replica = replica
        self._clock = clock
        self._issue_ticket = issue_ticket
        self._hub = hub
        self._rejected = rejected
        self._responses = ResponseCache(replica)

    def routes(self) -> dict[str, Callable[[web.Request], Any]]:
        """Handlers of GET by path, relative to where the server is mounted."""
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
        """This process is up, whether or not the broker is."""
        return respond(request, {"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """The document is live."""
        self._require_live_broker()
        return respond(request, {"status": "ready"})

    async def fleet(self, request: web.Request) -> web.Response:
        """The document."""
        body = await self._responses.get("fleet", request[PERSON].role, encode_document)
        return respond_bytes(request, body)

    async def metrics(self, request: web.Request) -> web.Response:
        """The document and this server's own figures for Prometheus, also without a broker."""
        openmetrics = prefers_openmetrics(",".join(request.headers.getall("Accept", [])))
        kind = OPENMETRICS if openmetrics else TEXT
        fleet = await self._responses.get(
            kind,
            request[PERSON].role,
            lambda document: render(fleet_metrics(document), openmetrics=openmetrics),
        )
        hub = self._hub
        own = viewer_metrics(
            len(hub), hub.cut, hub.refused, self._replica.malformed, self._rejected
        )
        body = render_families(own, openmetrics=openmetrics) + fleet
        return respond_bytes(request, body, content_type=kind)

    async def host(self, request: web.Request) -> web.Response:
        """One host; while the broker is lost, no host is live."""
        name = request.match_info["name"]
        host = self._replica.document["hosts"].get(name)
        if host is None:
            if not self._replica.ever_synced:
                self._require_live_broker()
            raise _unknown_host(name)
        if self._replica.lost and host["state"] == "live":
            host = {**host, "state": "stale"}
        return respond(request, redact_host(host, request[PERSON].role))

    async def recent(self, request: web.Request) -> web.Response:
        """The last sixty minutes of a host's GPUs, or of the fleet's totals."""
        self._require_live_broker()
        name = request.match_info.get("name", "")
        if name and name not in self._replica.document["hosts"]:
            raise _unknown_host(name)
        try:
            answer = await self._recent(name)
        except asyncio.TimeoutError:
            hint = "check that the broker is not older than this web server"
            raise RequestRefused(503, "the broker has no history", hint) from None
        if answer is None:
            hint = "its history begins when its collector first connects"
            raise RequestRefused(404, f"host {name!r} has never reported", hint)
        return respond(request, redact_recent(answer, request[PERSON].role))

    async def users(self, request: web.Request) -> web.Response:
        """Each user's share of the live hosts."""
        if request[PERSON].role == "counts":
            raise RequestRefused(403, "your role does not include users", "ask for the role names")
        self._require_live_broker()
        return respond(request, self._replica.document["users"])

    async def free(self, request: web.Request) -> web.Response:
        """Hosts that have the wanted GPUs free now."""
        wanted = parse_wanted(request.query)
        self._require_live_broker()
        document = self._replica.document
        offers = find_offers(document["hosts"], wanted)
        if _prefers_text(request):
            lines = "".join(f"{offer.host} {offer.devices}\n" for offer in offers)
            return web.Response(text=lines, headers={"Cache-Control": "no-store"})
        answer = {
            "now": document["now"],
            "gpus": wanted.gpus,
            "memory_gib": wanted.memory_gib,
            "model": wanted.model,
            "hosts": [offer_as_json(offer) for offer in offers],
        }
        return respond(request, answer)

    async def ticket(self, request: web.Request) -> web.Response:
        """A ticket for one websocket of the calling page."""
        return respond(request, {"ticket": self._issue_ticket(request)})

    def _require_live_broker(self) -> None:
        replica = self._replica
        if not replica.lost:
            return
        reason = replica.refusal
        if not reason:
            seconds = replica.silent_seconds(self._clock())
            since = "for" if replica.ever_synced else "since the start, for"
            reason = f"the broker has been silent {since} {seconds:.0f} s"
        hint = "check that the broker is running and that updates_port is reachable"
        raise RequestRefused(503, reason, hint)


def _unknown_host(name: str) -> RequestRefused:
    return RequestRefused(404, f"unknown host {name!r}", "api/v1/fleet lists the hosts")


def _prefers_text(request: web.Request) -> bool:
    accept = request.headers.get("Accept", "")
    return "text/plain" in accept and "json" not in accept
