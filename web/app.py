"""The aiohttp application: page, files, websocket and API, under `/` and under base_path."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gpu_monitor.web.api.routes import Api, respond
from gpu_monitor.web.auth.access import Gate, Handler
from gpu_monitor.web.errors import Wrong
from gpu_monitor.web.page.assets import Asset, Assets
from gpu_monitor.web.stream.handshake import Handshake

LOG = logging.getLogger(__name__)

HEADERS = {
    "Server": "gpu-monitor",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'self'; frame-ancestors 'self'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every response. No Cross-Origin-Opener-Policy: over plain http browsers ignore it with an
error in their console, and the page opens no windows."""

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Gateway = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES = 1024
_HINTS = {
    413: f"a form of at most {MAX_BODY_BYTES} bytes is taken here",
    404: (
        "there are ., ws, healthz, readyz, metrics and api/v1/ with fleet, hosts/NAME, users, free;"
        " behind a proxy that keeps its path set base_path"
    ),
    405: "only GET and HEAD are answered here",
}


def make_app(page: "Page", api: Api, handshake: Handshake, gate: Gate, base_path: str) -> web.Application:
    """Everything is served at `/` also when `base_path` is set: a proxy may keep it or not.

    Whatever is asked for, and there or not, passes the gate: all but healthz, the slash that is
    added to base_path, and the form that signs in.
    """
    gates: dict[object, Gateway] = {
        page.index: gate.to_page,
        handshake.handle: gate.to_socket,
        api.ticket: gate.to_ticket,
        api.healthz: _open,
        add_slash: _open,
    }

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.match_info.handler
        return await gates.get(asked, gate.to_data)(request, handler)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[errors_in_words, let_in])
    for base in dict.fromkeys((base_path, "")):
        app.router.add_get(f"{base}/", page.index)
        if gate.form is not None:
            gates[gate.form.post] = _open
            app.router.add_post(f"{base}/", gate.form.post)
        app.router.add_get(f"{base}/ws", handshake.handle, allow_head=False)
        app.router.add_get(f"{base}/a/{{hash}}/{{name:.+}}", page.file)
        for path, handler in api.routes().items():
            app.router.add_get(f"{base}/{path}", handler)
    if base_path:
        app.router.add_get(base_path, add_slash)
    app.on_response_prepare.append(_add_headers)
    return app


class Page:
    """index.html and the files it names; `changed` is called when they are other ones.

    Caches between here and the browser may keep files only where they are `public`.
    """

    def __init__(self, assets: Assets, changed: Callable[[], None], *, public: bool) -> None:
        self._assets = assets
        self._changed = changed
        self._kept = f"{'public' if public else 'private'}, max-age=31536000, immutable"

    async def index(self, request: web.Request) -> web.Response:
        """The page, always asked for anew: it names the current files."""
        if self._assets.refresh():
            self._changed()
        asset = self._assets.get("index.html")
        if asset is None:
            raise Wrong(404, "the page is not installed", "the API answers at api/v1/fleet")
        return _respond(request, asset, "no-cache")

    async def file(self, request: web.Request) -> web.Response:
        """The current file, also for an old hash: a page opened before an upgrade still works."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        current = request.match_info["hash"] == self._assets.hash
        return _respond(request, asset, self._kept if current else "no-cache")


def answering_expect(handler: Answering) -> Answering:
    """`handler` behind an answer of our own to an `Expect` that is not 100-continue (RFC 9110,
    section 10.1.1). aiohttp's repeats what was sent, and fails where that is no UTF-8; it comes
    before any route or middleware, so this has to stand before all of the application."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            told = {"error": "Expectation Failed", "hint": "send no Expect, or 100-continue"}
            return web.json_response(told, status=417, headers=HEADERS)
        return await handler(request)

    return handle


async def _open(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


async def add_slash(request: web.Request) -> web.Response:
    """`/gpus` -> `/gpus/`, relatively: right behind every proxy, whatever its name or prefix."""
    last = request.rel_url.raw_path.rsplit("/", 1)[1]
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    location = f"./{last}/{query}"
    return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-cache"})


@web.middleware
async def errors_in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is told in words: what, and what to do about it."""
    try:
        return await handler(request)
    except Wrong as wrong:
        return _refuse(request, wrong.status, wrong.error, wrong.hint, wrong.headers)
    except web.HTTPException as error:
        hint = _HINTS.get(error.status, "see the path and the headers of the request")
        text = error.reason
        if error.status == 400 and error.text:
            text = " ".join(error.text.split())
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _refuse(request, error.status, text, hint, allow)
    except web.RequestPayloadError:
        hint = "send it as its headers say, best without Content-Encoding"
        return _refuse(request, 400, "the body cannot be read", hint)
    except ConnectionError:
        raise  # the client has gone: nobody to tell
    except Exception:  # a bug of ours: the client is told, the log says where
        LOG.exception("%s could not be answered", request.path)
        return _refuse(request, 500, "this server failed", "its log says more")


def _refuse(
    request: web.Request,
    status: int,
    error: str,
    hint: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """In JSON; in two lines to who has opened the address in a browser."""
    if "text/html" not in request.headers.get("Accept", ""):
        return respond(request, {"error": error, "hint": hint}, status, headers)
    own = {**(headers or {}), "Cache-Control": "no-store"}
    return web.Response(text=f"{error}\n{hint}\n", status=status, headers=own)


def _respond(request: web.Request, asset: Asset, cache_control: str) -> web.Response:
    headers = {"Cache-Control": cache_control, "ETag": asset.tag, "Vary": "Accept-Encoding"}
    if asset.tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if asset.gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.gzipped, headers=headers)
    return web.Response(body=asset.body, headers=headers)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    own = response.headers.get("Content-Security-Policy")
    response.headers.update(HEADERS if own is None else {**HEADERS, "Content-Security-Policy": own})
