"""The aiohttp application: page, files, websocket and API, below `/` and below base_path."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from gpu_monitor.web.api.routes import Api
from gpu_monitor.web.auth.access import AccessControl, Handler
from gpu_monitor.web.error_responses import MAX_BODY_BYTES, error_responses
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.page.assets import Asset, Assets
from gpu_monitor.web.response_headers import HEADERS
from gpu_monitor.web.stream.handshake import Handshake

Check = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


def make_app(
    page: "Page", api: Api, handshake: Handshake, access: AccessControl, base_path: str
) -> web.Application:
    """Everything is served below `/` as well as `base_path`: proxies may keep the path or not.

    Every request passes access control, even for paths that do not exist. The exceptions are
    healthz, the redirect that adds the slash to base_path, and the sign-in form.
    """
    checks: dict[object, Check] = {
        page.index: access.page,
        handshake.handle: access.websocket,
        api.ticket: access.ticket,
        api.healthz: _unchecked,
        add_slash: _unchecked,
    }

    @web.middleware
    async def access_control(request: web.Request, handler: Handler) -> web.StreamResponse:
        requested = request.match_info.handler
        return await checks.get(requested, access.data)(request, handler)

    middlewares = [error_responses, access_control]
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    for base in dict.fromkeys((base_path, "")):
        if access.form is not None:
            checks[access.form.post] = _unchecked
            app.router.add_post(f"{base}/", access.form.post)
        app.router.add_get(f"{base}/", page.index)
        app.router.add_get(f"{base}/ws", handshake.handle, allow_head=False)
        app.router.add_get(f"{base}/a/{{hash}}/{{name:.+}}", page.file)
        for path, handler in api.routes().items():
            app.router.add_get(f"{base}/{path}", handler)
    if base_path:
        app.router.add_get(base_path, add_slash)
    app.on_response_prepare.append(_add_headers)
    return app


class Page:
    """index.html and the files it names.

    Shared caches, such as a proxy's, may keep the files only if they are `public`.
    """

    def __init__(self, assets: Assets, *, public: bool) -> None:
        self._assets = assets
        self._immutable = f"{'public' if public else 'private'}, max-age=31536000, immutable"

    async def index(self, request: web.Request) -> web.Response:
        """The page. Browsers revalidate it on every visit, because it names the current files."""
        asset = self._assets.get("index.html")
        if asset is None:
            hint = "the API is available at api/v1/fleet"
            raise RequestRefused(404, "the page is not installed", hint)
        return _respond(request, asset, "no-cache")

    async def file(self, request: web.Request) -> web.Response:
        """The current file, even for an old hash: pages opened before an upgrade keep working."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        current = request.match_info["hash"] == self._assets.hash
        return _respond(request, asset, self._immutable if current else "no-cache")


async def add_slash(request: web.Request) -> web.Response:
    """Redirect `/gpus` to `/gpus/`. A relative Location is right behind a proxy with any prefix."""
    last = request.rel_url.raw_path.rsplit("/", 1)[1]
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    location = f"./{last}/{query}"
    return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-cache"})


async def _unchecked(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


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
