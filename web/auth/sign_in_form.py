"""Signing in with a token in a browser: by a link or the form, remembered in a cookie."""

import base64
import hashlib
import html
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from gpu_monitor.web.auth.client_address import TrustedProxies
from gpu_monitor.web.auth.credentials import COOKIE, cookies_of
from gpu_monitor.web.auth.hashing import hash_token
from gpu_monitor.web.auth.own_form import is_own_form
from gpu_monitor.web.auth.person import PERSON
from gpu_monitor.web.auth.sign_in import SignIn
from gpu_monitor.web.errors import RequestRefused
from gpu_monitor.web.page.assets import Assets

COOKIE_SECONDS = 30 * 86400
"""After this long without a visit, a browser has to sign in again."""
_FIELD = "token"
_FORM_TYPE = "application/x-www-form-urlencoded"
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SIGN_OUT = '<button name="token" value="" formnovalidate>Sign out of this browser</button>'
_CSP = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"


class SignInForm:
    """The page's address in mode `token`; the form is one of `assets`.

    The cookie has no Path, so the browser sends it for everything below the page's address as seen
    by the browser, even if a proxy rewrites paths.
    """

    def __init__(self, sign_in: SignIn, proxies: TrustedProxies, assets: Assets) -> None:
        self._sign_in = sign_in
        self._proxies = proxies
        self._assets = assets

    async def open(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The page if the browser has signed in, or does so by the token in the link; else the
        form.

        An empty token in the link leads to the form again, where a browser can sign out.
        """
        token = request.query.get(_FIELD)
        if token:
            return self._sign_in_with(request, token)
        if token is not None:
            return self._form(request, 401)
        try:
            person = request[PERSON] = await self._sign_in.identify(request)
        except RequestRefused as refused:
            return self._refuse(request, refused)
        response = await handler(request)
        for token in cookies_of(request):
            if hash_token(token) == person.secret:
                self._set_cookie(request, response, token)
        return response

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The submitted form; an empty token signs out."""
        if not is_own_form(request, self._proxies):
            hint = "open the page to sign in; a proxy must pass on Host or send X-Forwarded-Host"
            raise RequestRefused(403, "this form belongs to another site", hint)
        if request.content_type != _FORM_TYPE:
            raise RequestRefused(415, "not a form", f"send it as {_FORM_TYPE}")
        fields = parse_qs((await request.read()).decode("utf-8", "replace"))
        token = fields.get(_FIELD, [""])[0].strip()
        if token:
            return self._sign_in_with(request, token)
        response = self._form(request, 200, "You are signed out in this browser.")
        self._set_cookie(request, response, "")
        return response

    def _refuse(self, request: web.Request, refused: RequestRefused) -> web.Response:
        if "text/html" not in request.headers.get("Accept", ""):
            raise refused
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # A link on another site opens the page without its cookie (SameSite=Strict).
            return _refresh(request, refused.status)
        message = _sentence(refused) if cookies_of(request) else ""
        return self._form(request, refused.status, message, refused.headers)

    def _sign_in_with(self, request: web.Request, token: str) -> web.Response:
        try:
            self._sign_in.person_by_token(request, [token])
        except RequestRefused as refused:
            return self._form(request, refused.status, _sentence(refused), refused.headers)
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
            secure=self._proxies.is_https(request),
        )

    def _form(
        self,
        request: web.Request,
        status: int,
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """The form, with a message about what went wrong."""
        asset = self._assets.get("sign-in.html")
        text = asset.body.decode() if asset is not None else ""
        alert = f'<p role="alert">{html.escape(message)}</p>' if message else ""
        style = hashlib.sha256("".join(_STYLE.findall(text)).encode()).digest()
        allowed = f"style-src 'sha256-{base64.b64encode(style).decode()}'; img-src data:"
        text = text.replace("<!-- words -->", alert)
        if cookies_of(request) and request.method == "GET":
            text = text.replace("<!-- sign out -->", _SIGN_OUT)
        return _page(text, allowed, status, headers)


def _sentence(refused: RequestRefused) -> str:
    text = refused.error if refused.status == 401 else f"{refused.error}; {refused.hint}"
    return f"{text[:1].upper()}{text[1:]}."


def _refresh(request: web.Request, status: int) -> web.Response:
    """A page that opens our page, without the token in its address.

    Not a redirect: that would count as part of the navigation that another site's link began, and
    the browser would not send the cookie.
    """
    rest = [(name, value) for name, value in request.query.items() if name != _FIELD]
    where = html.escape("./" + (f"?{urlencode(rest, errors='replace')}" if rest else ""))
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>GPUs</title>'
        f'<meta http-equiv="refresh" content="0; url={where}"><p><a href="{where}">Continue</a></p>'
    )
    return _page(text, "", status, None)


def _page(text: str, allowed: str, status: int, more: Mapping[str, str] | None) -> web.Response:
    headers = {
        "Content-Security-Policy": f"{_CSP}; {allowed}".rstrip("; "),
        "Cache-Control": "no-store",
        **(more or {}),
    }
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
