"""The benchmark's servers, each in its own process: the real one, and one for the naive page."""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq
from aiohttp import web as http

import gpu_monitor.web.main
from gpu_monitor.web.page.assets import FOLDER, Assets
from gpu_monitor.web.settings import WebSettings
from gpu_monitor.wire.broker_link import Subscriber
from gpu_monitor.wire.replica import Replica

PATIENT_SECONDS = 3600.0
HERE = Path(__file__).parent


async def serve_page(endpoint: str) -> None:
    """Serve the page with the real web server; it tolerates silence while patches are prepared."""
    settings = WebSettings(updates_endpoint=endpoint, web_port=0, rpc_timeout=PATIENT_SECONDS)
    await gpu_monitor.web.main.run(settings, lambda url: print(url, flush=True))


def naive_assets() -> Assets:
    """The page's files, with naive.js in place of its script and markup.js in place of lit-html."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(shutil.copytree(FOLDER, Path(folder) / "app"))
        shutil.copy(HERE / "naive.js", files / "app.js")
        shutil.copy(HERE / "markup.js", files / "vendor" / "lit-html.js")
        return Assets(files)


async def serve_naive(endpoint: str) -> None:
    """Serve the naive page, and send it the whole document at every tick."""
    assets = naive_assets()
    replica = Replica({}, PATIENT_SECONDS, time.monotonic())
    viewers: set[http.WebSocketResponse] = set()

    def publish(_patch: Any) -> None:
        text = json.dumps(replica.document, separators=(",", ":"))
        tasks.extend(asyncio.ensure_future(viewer.send_str(text)) for viewer in viewers)
        tasks[:] = [task for task in tasks if not task.done()]

    async def follow(request: http.Request) -> http.WebSocketResponse:
        viewer = http.WebSocketResponse(compress=False)
        await viewer.prepare(request)
        viewers.add(viewer)
        await viewer.send_str(json.dumps(replica.document, separators=(",", ":")))
        async for _ in viewer:
            pass
        viewers.discard(viewer)
        return viewer

    async def file(request: http.Request) -> http.Response:
        asset = assets.get(request.match_info.get("name", "index.html"))
        if asset is None:
            raise http.HTTPNotFound
        return http.Response(body=asset.body, headers={"Content-Type": asset.content_type})

    async def recent(request: http.Request) -> http.Response:
        return http.json_response(await subscriber.recent(request.match_info.get("host", "")))

    tasks: list[asyncio.Future[None]] = []
    app = http.Application()
    app.router.add_get("/", file)
    app.router.add_get("/a/{hash}/{name:.+}", file)
    app.router.add_get("/api/v1/recent", recent)
    app.router.add_get("/api/v1/hosts/{host}/recent", recent)
    app.router.add_get("/ws", follow)
    runner = http.AppRunner(app, access_log=None)
    await runner.setup()
    await http.TCPSite(runner, "127.0.0.1", 0).start()
    subscriber = Subscriber(endpoint, zmq.Context.instance(), replica, publish, time.monotonic)
    while not replica.ever_synced:
        await asyncio.sleep(0.02)
        subscriber.poll()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    while True:
        await asyncio.sleep(0.1)
        subscriber.poll()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("page", "naive"))
    parser.add_argument("endpoint")
    options = parser.parse_args()
    asyncio.run({"page": serve_page, "naive": serve_naive}[options.kind](options.endpoint))
