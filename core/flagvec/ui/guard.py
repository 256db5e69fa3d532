"""What keeps other web pages and hostile documents out of the page: checks of requests, and headers of answers."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page of another site that leads its own name to 127.0.0.1 sends that name.
HOSTS = ["127.0.0.1", "localhost"]
LARGEST_BODY = 2**20
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests that no page of this server makes, and adds headers that confine the page to this server.

    Args:
        app: What answers the other requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = None if scope["method"] in ("GET", "HEAD") else _refusal(Headers(scope=scope))
        answer = self.app if refusal is None else refusal
        await answer(scope, receive, with_headers)


def _refusal(headers: Headers) -> JSONResponse | None:
    # A form or a script of another site can send other types without asking this server first.
    if headers.get("content-type", "").partition(";")[0] != "application/json":
        return JSONResponse({"error": "the body is not application/json"}, 415)
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return JSONResponse({"error": "the request comes from another site"}, 403)
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return JSONResponse({"error": f"a body has a length of at most {LARGEST_BODY:,} bytes"}, 413)
    return None
