"""The page's server: static files, and three questions with answers as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagvec.errors import StoreError
from flagvec.extras import extra
from flagvec.ingest.report import without_secrets
from flagvec.ui.questions import BadQuestion, Questions

with extra("ui"):
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

from flagvec.ui.guard import HOSTS, Guard

if TYPE_CHECKING:
    from flagvec.search.options import SearchKeywords
    from flagvec.store.base import HybridStore

STATIC = Path(__file__).parent / "static"
_logger = logging.getLogger(__name__)


def page_of(store: HybridStore, name: str = "", settings: SearchKeywords | None = None) -> Starlette:
    """Return the ASGI application of the page over a store; it reads only.

    Args:
        store: What is searched. Its verbs run in worker threads.
        name: What the page calls the store, such as its URL.
        settings: What the page begins with, as `flagvec.search.settings.load_settings` returns it.
    """
    questions = Questions(store, name, settings)
    return Starlette(
        routes=[
            Route("/", lambda request: FileResponse(STATIC / "index.html")),
            Route("/api/store", _asked(lambda given: questions.about()), methods=["GET"]),
            Route("/api/search", _asked(questions.search), methods=["POST"]),
            Route("/api/explain", _asked(questions.explain), methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
    )


def _asked(question: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            given = json.loads(await request.body()) if request.method == "POST" else {}
        except ValueError as error:
            return JSONResponse({"error": f"the body is not JSON: {error}"}, 400)
        if not isinstance(given, dict):
            return JSONResponse({"error": f"the body is {type(given).__name__}, not a JSON object"}, 400)
        try:
            return JSONResponse(await run_in_threadpool(question, given))
        except StoreError as error:
            return _failed(error, 503, away=True)
        except BadQuestion as error:
            return _failed(error, 400, argument=error.argument)
        except (TypeError, ValueError) as error:
            return _failed(error, 400)
        except Exception as error:
            _logger.exception("the page's question failed")
            return JSONResponse({"error": without_secrets(f"{type(error).__name__}: {error}")}, 500)

    return answer


def _failed(error: Exception, status: int, **further: Any) -> JSONResponse:
    return JSONResponse({"error": without_secrets(str(error)), **further}, status)
