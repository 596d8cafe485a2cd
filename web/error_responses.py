"""Every failed request is answered with what is wrong and what to do about it."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

from gpu_monitor.web.api.responses import respond
from gpu_monitor.web.auth.access import Handler
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.rejections import OVERSIZED, Rejections
from gpu_monitor.web.response_headers import HEADERS
from gpu_monitor.web.stream.encodings import encode_json

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024
_HINTS = {
    413: f"a form may have at most {MAX_BODY_BYTES} bytes",
    404: (
        "the paths are ., ws, healthz, readyz, metrics, and below api/v1/: fleet, hosts/NAME,"
        " users, free; behind a proxy that keeps its path, set base_path"
    ),
    405: "use GET or HEAD",
}

RawHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@web.middleware
async def error_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into a response with an error and a hint."""
    try:
        return await handler(request)
    except RequestRefused as refused:
        return _error(request, refused.status, refused.error, refused.hint, refused.headers)
    except web.HTTPException as error:
        return _http_error(request, error)
    except web.RequestPayloadError:
        hint = "make the body match its headers, preferably without Content-Encoding"
        return _error(request, 400, "the body cannot be read", hint)
    except ConnectionError:
        raise  # the client is gone
    except Exception:  # a bug: answer the client, log the traceback
        log.exception("internal error while answering %s", request.path)
        return _error(request, 500, "internal error", "the server's log has details")


def outermost(handler: RawHandler, rejections: Rejections) -> RawHandler:
    """What applies to every request that could be parsed, around the whole application.

    An `Expect` other than 100-continue (RFC 9110, section 10.1.1) is refused here, because
    aiohttp's own answer, before routes and middlewares, repeats the header and fails if that is not
    UTF-8. Behind a body, or a refused upgrade, no further request is read.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return error_response(417, "Expectation Failed", "omit Expect, or send 100-continue")
        response = await handler(request)
        if response.status == 413:
            rejections.count(OVERSIZED, f"{request.remote}: the body is too large")
        if request.body_exists or "Upgrade" in request.headers:
            response.force_close()
        return response

    return handle


def error_response(status: int, error: str, hint: str) -> web.Response:
    """For errors outside the application, after which the connection is closed."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    response = web.json_response({"error": error, "hint": hint}, status=status, headers=headers)
    response.force_close()
    return response


def error_bytes(status: int, error: str, hint: str) -> bytes:
    """The same for a request that aiohttp has not parsed, ready to be sent."""
    body = encode_json({"error": error, "hint": hint})
    headers = {
        **HEADERS,
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Content-Length": str(len(body)),
        "Date": formatdate(usegmt=True),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    text = error.reason
    if error.status == 400 and error.text:
        text = " ".join(error.text.split())
    hint = _HINTS.get(error.status, "check the path and the headers of the request")
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return _error(request, error.status, text, hint, allow)


def _error(
    request: web.Request,
    status: int,
    error: str,
    hint: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """As JSON; as two lines of text if the address was opened in a browser."""
    if "text/html" not in request.headers.get("Accept", ""):
        return respond(request, {"error": error, "hint": hint}, status, headers)
    own = {**(headers or {}), "Cache-Control": "no-store"}
    return web.Response(text=f"{error}\n{hint}\n", status=status, headers=own)
