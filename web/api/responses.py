"""JSON responses that no cache keeps."""

from collections.abc import Mapping

from aiohttp import web

from gpu_monitor.web.stream.encodings import encode_json

_COMPRESS_FROM_BYTES = 1024
_COMPRESS_IN_THREAD_FROM_BYTES = 64 * 1024


def respond(
    request: web.Request,
    answer: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """`answer` as JSON."""
    return respond_bytes(request, encode_json(answer), status, headers)


def respond_bytes(
    request: web.Request,
    body: bytes,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> web.Response:
    """`body`, compressed as the client accepts if that pays."""
    own = {"Content-Type": content_type, "Cache-Control": "no-store"}
    response = web.Response(
        body=body,
        status=status,
        headers={**(headers or {}), **own},
        zlib_executor_size=_COMPRESS_IN_THREAD_FROM_BYTES,
    )
    if len(body) >= _COMPRESS_FROM_BYTES:
        response.enable_compression()
    return response
