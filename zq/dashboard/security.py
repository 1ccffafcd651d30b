"""Who is let in, before anything looks at a request: the name it was sent to, the token, where it comes from, its size.

A page elsewhere can have a browser send requests here. What it cannot: read what loopback answers under another name
than ours (the header Host is compared), and send what changes something (POST must come from our own pages, or from no
browser at all, and be JSON).
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zq.dashboard.options import DashboardOptions, is_address
from zq.dashboard.problems import ProblemError, answer, problem_of

BODY_BYTES_MAX: Final = 1 << 20
"""Of a request: as much as a payload usually may have."""

SAFE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer: only our own files run, nobody shows us in a frame, and nobody learns where one came from."""

METHODS: Final = ("GET", "HEAD", "POST")

OPEN_PATHS: Final = ("/livez", "/readyz")
"""For what watches processes: they tell nothing but that, and need no token."""

PAGES_OF_OTHERS: Final = ("/", *OPEN_PATHS)
"""Where links of other pages may lead. What else such a page has its reader's browser ask for, it cannot read; but it
could hold all event streams, and have the coordinator look through its tasks.
"""

ELSEWHERE: Final = ("cross-site", "same-site")
"""What browsers say of requests that pages of others make, in the header Sec-Fetch-Site."""

COOKIE_SECONDS: Final = 30 * 86_400

SIGN_IN: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>zq: token</title>
<body><h1>This dashboard asks for a token</h1>
<form method="get" action="/"><label>Token <input name="token" type="password" autofocus></label>
<button>Open</button></form></body></html>"""

SIGNED_IN: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>zq</title>
<meta http-equiv="refresh" content="0;url=/"><body><a href="/">Open the dashboard</a></body></html>"""
"""Not a redirect: that of a link from elsewhere would be followed without a cookie of the same site."""


class Gatekeeper:
    """Middleware: refuses what must not come through, and puts the headers on what goes out."""

    def __init__(self, app: ASGIApp, options: DashboardOptions) -> None:
        self._app = app
        self._token = options.token
        self._hosts = {"localhost", options.place[0].lower(), *(name.lower() for name in options.hosts)}
        self._is_read_only = options.is_read_only
        seal = (options.token or "").encode()
        self._cookie = f"zq-{hashlib.sha256(seal).hexdigest()[:8]}"  # ports of a host share their cookies
        self._cookie_value = hmac.new(seal, b"zq dashboard cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # As it was written: a name in a path may have slashes, which are %2F there.
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("latin-1")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            early = self._check(scope)
            if early is None:
                await self._app(scope, limited(receive, BODY_BYTES_MAX), send_guarded)
                return
        except Exception as error:
            early = answer(problem_of(error))
        await early(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> Response | None:
        """Returns a response that comes instead of the application's, if any; raises ProblemError."""
        headers = Headers(scope=scope)
        host = self._check_host(headers)
        method, path = scope["method"], scope["path"]
        if method not in METHODS:
            raise ProblemError(405, "method", f"expected {', '.join(METHODS)}, got {method[:20]}")
        if self._token is not None and path not in OPEN_PATHS:
            refused = self._check_token(scope, headers)
            if refused is not None:
                return refused
        if method == "POST":
            self._check_post(headers, host)
        elif path not in PAGES_OF_OTHERS and headers.get("sec-fetch-site") in ELSEWHERE:
            raise ProblemError(403, "cross-origin", "pages elsewhere may lead to this dashboard, and ask it nothing")
        return None

    def _check_host(self, headers: Headers) -> str:
        given = headers.getlist("host")
        host = given[0].lower() if len(given) == 1 else ""
        name = _name_in(host)
        if name not in self._hosts and not is_address(name):
            text = f"this dashboard does not answer to the name {host[:100]!r}; --host NAME lets it"
            raise ProblemError(400, "host", text)
        return host

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip()):
            return None
        if _is_same(_cookie(headers, self._cookie), self._cookie_value):
            return None
        is_page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        if is_page and self._is_token("".join(parse_qs(scope["query_string"].decode("latin-1")).get("token", [])[:1])):
            response: Response = HTMLResponse(SIGNED_IN, headers={"cache-control": "no-store"})
            response.set_cookie(
                self._cookie,
                self._cookie_value,
                max_age=COOKIE_SECONDS,
                httponly=True,
                samesite="strict",
                secure=scope.get("scheme") == "https",
            )
            return response
        if is_page:
            return HTMLResponse(SIGN_IN, 401, {"cache-control": "no-store"})
        problem = ProblemError(401, "token", "expected the token of this dashboard: Authorization: Bearer TOKEN")
        response = answer(problem)
        response.headers["www-authenticate"] = "Bearer"
        return response

    def _is_token(self, given: str) -> bool:
        return self._token is not None and _is_same(given, self._token)

    def _check_post(self, headers: Headers, host: str) -> None:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_ours = site in (None, "same-origin") and (origin is None or _place_in(origin) == host)
        if not is_ours:
            raise ProblemError(403, "cross-origin", "expected a request of this dashboard's own pages")
        if self._is_read_only:
            raise ProblemError(403, "read-only", "this dashboard only shows: it was started with --read-only")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ProblemError(415, "content-type", f"expected content-type application/json, got {kind[:60]!r}")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            raise too_large()


def too_large() -> ProblemError:
    return ProblemError(413, "too-large", f"expected a body of at most {BODY_BYTES_MAX} bytes")


def limited(receive: Receive, most: int) -> Receive:
    """Returns a `receive` that raises when a body is larger, whatever its header says."""
    left = most

    async def receive_limited() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise too_large()
        return message

    return receive_limited


def _name_in(host: str) -> str:
    """Returns the name in a header Host, without its port; empty when it cannot be one."""
    if not (host.isascii() and host.isprintable()) or set(host) & set("/?#@\\ "):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place_in(origin: str) -> str | None:
    """Returns the host and port in a header Origin; None when it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _is_same(given: str, expected: str) -> bool:
    """Compares in a time that tells nothing of how much was right."""
    return hmac.compare_digest(given.encode(), expected.encode())
