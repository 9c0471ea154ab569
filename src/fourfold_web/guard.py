"""The gate of the page: who may ask, how much, and for how long. It stands before the first line of any view."""

from __future__ import annotations

import asyncio
import html
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LIMITS", "Guard", "Limits", "object_of", "refusal"]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "cache-control": "no-cache",
}
"""Headers of every answer: nothing from elsewhere is loaded, and nothing elsewhere may hold the page in a frame."""


@dataclass(frozen=True)
class Limits:
    """The most that one client may ask for.

    Attributes:
        body: bytes of a request.
        seconds: time until a request is whole, and until a part of an answer is taken.
        requests: number of requests at a time.
        waiting: number of tasks that wait for the models.
        work: seconds of one task of a model.
    """

    body: int = 32 << 20
    seconds: float = 20.0
    requests: int = 256
    waiting: int = 64
    work: float = 120.0


LIMITS = Limits()
"""Those of a page unless it says others."""


class Guard:
    """Answers a request that may not pass, and hands on the others with their whole body.

    A request passes if it names this host, comes from this page or from no page, holds the token, and ends in time.

    Attributes:
        app: the application behind it.
        token: the secret of the printed address.
        port: the port of the page.
        limits: the most that may be asked for.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, limits: Limits) -> None:
        self.app, self.token, self.port, self.limits = app, token, port, limits
        self.cookie = f"fourfold-{port}"
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            self.requests += 1
            try:
                await self._answer(scope, receive, self._headed(send))
            finally:
                self.requests -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        response = self._refused(scope, headers) or self._entered(scope)
        if response is not None:
            await response(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await self._body(receive, headers)
        except TimeoutError:
            await refusal(scope, 408, f"a request must end within {self.limits.seconds:g} s; send it again")(
                scope, receive, send
            )
            return
        if body is None:
            most = f"{self.limits.body / 2**20:.3g} MB"
            await refusal(scope, 413, f"a request must have at most {most}; send less at once")(scope, receive, send)
            return
        await self.app(scope, _replayed(body, receive), send)

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """The answer to a request that may not pass."""
        if self.requests > self.limits.requests:
            return refusal(scope, 503, f"more than {self.limits.requests} requests at a time; try again in a moment")
        if headers.get("host") not in self.hosts:
            return refusal(scope, 421, "the host must be the one of the printed address; open that address")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin not in (None, *(f"http://{host}" for host in self.hosts)) or site not in ("none", "same-origin"):
            return refusal(scope, 403, "the request must come from this page, got another origin")
        if not self._is_open(scope["path"]) and not self._holds_token(scope, headers):
            return refusal(scope, 401, "the token is missing or wrong; open the address that fourfold serve printed")
        return None

    @staticmethod
    def _is_open(path: str) -> bool:
        """Whether a path is a file of the package, which holds no secret, so that a page of an error has its style."""
        return path != "/" and not path.startswith("/api/")

    def _holds_token(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        cookies = dict(pair.strip().partition("=")[::2] for pair in headers.get("cookie", "").split(";"))
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        tokens = (cookies.get(self.cookie, ""), bearer, self._query_token(scope))
        return any(secrets.compare_digest(token.encode(), self.token.encode()) for token in tokens)

    @staticmethod
    def _query_token(scope: Scope) -> str:
        """The token in the address, which only the first page has."""
        query = scope["query_string"].decode("latin-1") if scope["path"] == "/" else ""
        return parse_qs(query).get("token", [""])[0]

    def _entered(self, scope: Scope) -> Response | None:
        """The token moves from the address into a cookie, so that it stands in no history and in no link."""
        if not self._query_token(scope):
            return None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
        return response

    async def _body(self, receive: Receive, headers: Mapping[str, str]) -> bytes | None:
        """The whole body, or ``None`` where it is too large."""
        if int(headers.get("content-length", "0")) > self.limits.body:
            return None
        parts, size, more = list[bytes](), 0, True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self.limits.body:
                return None
        return b"".join(parts)

    def _headed(self, send: Send) -> Send:
        """Send with the headers of every answer. A client that takes nothing for too long loses its answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                own = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in names)]
            async with asyncio.timeout(self.limits.seconds):
                await send(message)

        return send_with_headers


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Hand out the body once, then what the connection says."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def received() -> Message:
        return next(messages, None) or await receive()

    return received


def refusal(scope: Mapping[str, Any], status: int, message: str) -> Response:
    """An error for a person, as a page, or for the scripts of the page, as JSON."""
    title = HTTPStatus(status).phrase
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": message, "title": title}, status)
    return HTMLResponse(PAGE.format(title=html.escape(title), message=html.escape(message)), status)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · fourfold</title>
<link rel="stylesheet" href="/style.css">
<body class="alone"><main><h1>{title}</h1><p>{message}</p></main></body>
</html>
"""


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        ValueError: for anything else.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError("a request must be a JSON object, got something else; reload the page")
    return content
