"""One HTTP connection: bounded in time and memory until its request has arrived.

aiohttp limits each header, but neither all of a request's headers together nor the time in which
they arrive. Its parser keeps what it has until the request is complete.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from gpu_monitor.web.error_responses import error_bytes, error_response
from gpu_monitor.web.rejections import LATE, MALFORMED, OVERSIZED, Rejections
from gpu_monitor.web.unfinished import UnfinishedRequests

MAX_HEAD_BYTES = 32 << 10
"""Request line and headers together, as in nginx: a cookie of a single sign-on may have 16 kB."""
MAX_HEADER_BYTES = 24 << 10
MAX_LINE_BYTES = 8190
MAX_HEADERS = 100
MAX_UPLOAD_BYTES = 256 << 10
"""What may follow the headers before the connection is closed. Bodies are refused long before; the
rest is read so that the client sees why."""
MAX_UNFINISHED_BYTES = 16 << 20
"""Of all unfinished requests together; Python objects need two to three times as much."""
KEEPALIVE_SECONDS = 75.0
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read."""

log = logging.getLogger(__name__)

_UP_TO_THE_LAST_BLANK_LINE = re.compile(rb".*\r\n\r\n", re.DOTALL)
_BLANK_LINE_REST_BYTES = 3
"""Where a blank line that began in the previous piece ends."""


def log_no_client_errors() -> None:
    """Keep aiohttp from logging what any client can cause.

    Malformed HTTP and hanging up are not worth a traceback, nor a websocket's handshake that
    offers only a ticket a warning.
    """
    log.addFilter(_is_not_client_error)
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def _is_not_client_error(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


class Arrivals:
    """What all connections of a server share; `clock` counts seconds."""

    def __init__(
        self, request_seconds: float, rejections: Rejections, clock: Callable[[], float]
    ) -> None:
        self.rejections = rejections
        self.clock = clock
        self.unfinished: UnfinishedRequests[Connection] = UnfinishedRequests(
            request_seconds, MAX_UNFINISHED_BYTES
        )

    def close_late(self) -> None:
        """Close connections whose request has not arrived in time; to be called often."""
        for connection in self.unfinished.expired(self.clock()):
            connection.give_up()

    def make_room(self) -> None:
        """Close those that have held unfinished requests longest, while all hold too much."""
        for connection in self.unfinished.overdrawn():
            self.rejections.count(OVERSIZED, "unfinished requests take too much memory")
            connection.force_close()


class Connection(web.RequestHandler):
    """Follows what arrives, request by request."""

    __slots__ = ("_arrivals", "_body", "_on_lost", "_parsed_requests")

    def __init__(self, server: web.Server, arrivals: Arrivals, on_lost: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            logger=log,
            access_log=None,  # type: ignore[arg-type]  # aiohttp logs no requests then
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._arrivals = arrivals
        self._on_lost = on_lost
        self._parsed_requests = 0
        self._body: StreamReader | None = None
        """Of the newest request, while more of it is expected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first request is expected from now on."""
        super().connection_made(transport)
        self._arrivals.unfinished.begin(self, self._arrivals.clock())

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget this connection."""
        self._arrivals.unfinished.end(self)
        self._on_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, in such pieces that a request's headers end where a piece ends."""
        for piece in pieces_of(data):
            super().data_received(piece)
            self._follow(len(piece))

    def give_up(self) -> None:
        """The request did not arrive in time."""
        if self._request_count == 0 and not self._arrivals.unfinished.receive(self, 0, 0.0):
            self.force_close()  # browsers connect in advance
            return
        self._refuse(LATE, 408, "the request did not arrive in time", "send it without pauses")

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot parse, or a bug outside the application's own handlers."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of another response has been sent")
        if not isinstance(exc, HttpProcessingError):
            log.error("internal error outside of requests", exc_info=exc)
            return error_response(500, "internal error", "the server's log has details")
        status, error, hint = explain(exc)
        reason = MALFORMED if status == 400 else OVERSIZED
        self._arrivals.rejections.count(reason, f"{request.remote}: {error}")
        return error_response(status, error, hint)

    def _follow(self, size: int) -> None:
        unfinished = self._arrivals.unfinished
        if self._force_close or self._upgraded:
            unfinished.end(self)
        elif self._request_count != self._parsed_requests and self._messages:
            if self._body is not None and not self._body.is_eof():
                # aiohttp queues its error behind a handler that waits for the rest of the body
                self._body.set_exception(web.RequestPayloadError("malformed chunk"))
            self._begin_body(self._messages[-1][1])
        elif self._body is not None and self._body.is_eof():
            self._body = None
            unfinished.end(self)
        elif size:
            self._hold(size)

    def _begin_body(self, body: StreamReader) -> None:
        """The headers of a request have arrived."""
        self._parsed_requests = self._request_count
        self._body = None if body.is_eof() else body
        if self._body is None:
            self._arrivals.unfinished.end(self)
        else:
            self._arrivals.unfinished.begin(self, self._arrivals.clock())

    def _hold(self, size: int) -> None:
        """More of a request that is still unfinished."""
        held = self._arrivals.unfinished.receive(self, size, self._arrivals.clock())
        if held > (MAX_HEAD_BYTES if self._body is None else MAX_UPLOAD_BYTES):
            hint = f"request line and headers may have {MAX_HEAD_BYTES >> 10} KiB; delete cookies"
            self._refuse(OVERSIZED, 431, "the headers are too large", hint)
        self._arrivals.make_room()

    def _refuse(self, reason: str, status: int, error: str, hint: str) -> None:
        """Answer and close; only close where another response may be under way."""
        address = self.peername[0] if self.peername else "a client"
        self._arrivals.rejections.count(reason, f"{address}: {error}")
        if self._body is None and self._current_request is None and self.transport is not None:
            self.transport.write(error_bytes(status, error, hint))
        self._arrivals.unfinished.end(self)
        self.force_close()


def pieces_of(data: bytes) -> Iterator[bytes]:
    """The same bytes, divided after the last blank line.

    Otherwise no one could tell how much of the next request has arrived behind a complete one.
    """
    complete = _UP_TO_THE_LAST_BLANK_LINE.match(data)
    end = max(_BLANK_LINE_REST_BYTES, complete.end() if complete is not None else 0)
    yield data[:_BLANK_LINE_REST_BYTES]
    yield from filter(None, (data[_BLANK_LINE_REST_BYTES:end], data[end:]))


def explain(exc: HttpProcessingError) -> tuple[int, str, str]:
    """Status, error and hint for what the parser refuses; none repeats what the client sent."""
    if isinstance(exc, LineTooLong):
        if str(exc.args[1]) == str(MAX_LINE_BYTES):
            return 414, "the address is too long", f"use at most {MAX_LINE_BYTES} bytes"
        hint = f"each may have {MAX_HEADER_BYTES >> 10} KiB; delete cookies"
        return 431, "a header is too large", hint
    if exc.message.startswith("Too many headers"):
        return 431, "there are too many headers", f"send at most {MAX_HEADERS}"
    if isinstance(exc, BadHttpMethod):
        return 400, "not an HTTP request", "this port speaks plain HTTP; a proxy adds TLS"
    return 400, "malformed request", "send HTTP/1.1 as in RFC 9112"
