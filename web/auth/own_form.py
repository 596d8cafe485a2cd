"""Whether a submitted form is the server's own.

Threat: another site's page submits the form in a viewer's browser, which signs the viewer out, or
in under someone else's name. Browsers say with every POST which origin it comes from: in
Sec-Fetch-Site; over plain HTTP, and in Safari before 16.4, only in Origin. A proxy that replaces
Host must pass it on in X-Forwarded-Host.
"""

from aiohttp import web

from gpu_monitor.web.auth.allowed_hosts import split
from gpu_monitor.web.auth.client_address import TrustedProxies

_SCHEME_PORTS = {"http": 80, "https": 443}


def is_own_form(request: web.BaseRequest, proxies: TrustedProxies) -> bool:
    """True for the page of the same origin, and for clients that are no browser."""
    sites = request.headers.getall("Sec-Fetch-Site", [])
    if sites:
        return all(site == "same-origin" for site in sites)
    opened = proxies.opened_hosts(request)
    return all(_matches(origin, opened) for origin in request.headers.getall("Origin", []))


def _matches(origin: str, opened: list[str]) -> bool:
    """Whether an Origin (RFC 6454) names a host that was opened; `null` names none.

    The schemes may differ, because a proxy with TLS connects over plain HTTP.
    """
    scheme, separator, host = origin.partition("://")
    port = _SCHEME_PORTS.get(scheme.lower())
    if not separator or port is None:
        return False
    wanted = split(host, port)
    return wanted[1] is not None and wanted in [split(name, port) for name in opened]
