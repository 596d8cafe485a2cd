"""How a browser signs in with a token: by a link or a form, and the cookie that comes of it."""

import base64
import hashlib
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from gpu_monitor.web.auth.client_address import Peers
from gpu_monitor.web.auth.hashing import hash_token
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.sign_in import COOKIE, SignIn, cookies_of
from gpu_monitor.web.errors import Wrong
from gpu_monitor.web.page.assets import Assets

COOKIE_SECONDS = 30 * 86400
"""Without a visit for so long a browser has to sign in again."""
_FIELD = "token"
_SENT_AS = "application/x-www-form-urlencoded"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SIGN_OUT = '<button name="token" value="" formnovalidate>Sign out of this browser</button>'
_CSP = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"


class Form:
    """The page's address where a token is needed; `assets` has the form.

    The cookie has no Path: so a browser sends it for all below the page's address as the browser
    knows it, whatever a proxy makes of that.
    """

    def __init__(self, signin: SignIn, peers: Peers, assets: Assets) -> None:
        self._signin = signin
        self._peers = peers
        self._assets = assets

    async def open(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The page to those who are signed in, the form to others; a link's token is taken.

        An empty one leads to the form again, where a browser can sign out.
        """
        if token := request.query.get(_FIELD):
            return self._try(request, token)
        if token is not None:
            return self._show(request, Wrong(401, "", ""), "")
        try:
            person = request[PERSON] = await self._signin.person(request)
        except Wrong as wrong:
            if "text/html" not in request.headers.get("Accept", ""):
                raise
            if request.headers.get("Sec-Fetch-Site") == "cross-site":
                # A link on another site opens the page without its cookie (SameSite=Strict).
                return _refresh(request, wrong.status)
            return self._show(request, wrong, _sentence(wrong) if cookies_of(request) else "")
        response = await handler(request)
        for token in cookies_of(request):
            if hash_token(token) == person.secret:
                self._set_cookie(request, response, token)
        return response

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The form was sent; an empty one signs out."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Wrong(403, "this form is not of this page", "open the page to sign in")
        if request.content_type != _SENT_AS:
            raise Wrong(415, "this is no form", f"send it as {_SENT_AS}")
        fields = parse_qs((await request.read()).decode("utf-8", "replace"))
        token = fields.get(_FIELD, [""])[0].strip()
        if token:
            return self._try(request, token)
        response = self._show(request, Wrong(200, "", ""), "You are signed out in this browser.")
        self._set_cookie(request, response, "")
        return response

    def _try(self, request: web.Request, token: str) -> web.Response:
        try:
            self._signin.by_token(request, [token])
        except Wrong as wrong:
            return self._show(request, wrong, _sentence(wrong))
        response = _refresh(request, 200)
        self._set_cookie(request, response, token)
        return response

    def _set_cookie(self, request: web.Request, response: web.StreamResponse, token: str) -> None:
        response.set_cookie(
            COOKIE,
            token,
            max_age=COOKIE_SECONDS if token else 0,
            path="",
            httponly=True,
            samesite="Strict",
            secure=self._peers.is_https(request),
        )

    def _show(self, request: web.Request, wrong: Wrong, words: str) -> web.Response:
        """The form, with words about what went wrong."""
        asset = self._assets.get("sign-in.html")
        text = asset.body.decode() if asset is not None else ""
        said = f'<p role="alert">{html.escape(words)}</p>' if words else ""
        style = hashlib.sha256("".join(_STYLE.findall(text)).encode()).digest()
        allowed = f"style-src 'sha256-{base64.b64encode(style).decode()}'; img-src data:"
        text = text.replace("<!-- words -->", said)
        if cookies_of(request) and request.method == "GET":
            text = text.replace("<!-- sign out -->", _SIGN_OUT)
        return _page(text, allowed, wrong.status, wrong.headers)


def _sentence(wrong: Wrong) -> str:
    words = wrong.error if wrong.status == 401 else f"{wrong.error}; {wrong.hint}"
    return f"{words[:1].upper()}{words[1:]}."


def _refresh(request: web.Request, status: int) -> web.Response:
    """A page that opens the page itself, without the token in its address.

    No redirect: that would belong to the link that was followed, and when another site has that
    link the cookie would not be sent.
    """
    rest = [(name, value) for name, value in request.query.items() if name != _FIELD]
    where = html.escape("./" + (f"?{urlencode(rest, errors='replace')}" if rest else ""))
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>GPUs</title>'
        f'<meta http-equiv="refresh" content="0; url={where}"><p><a href="{where}">Go on</a></p>'
    )
    return _page(text, "", status, None)


def _page(text: str, allowed: str, status: int, more: Mapping[str, str] | None) -> web.Response:
    headers = {
        "Content-Security-Policy": f"{_CSP}; {allowed}".rstrip("; "),
        "Cache-Control": "no-store",
        **(more or {}),
    }
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
