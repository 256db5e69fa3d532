"""Runs the page on this machine alone: `serve` in a thread for notebooks, `run` until Ctrl-C for the command line."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from flagvec.extras import extra
from flagvec.ui.app import page_of

with extra("ui"):
    import uvicorn

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from typing_extensions import Self

    from flagvec.search.options import SearchKeywords
    from flagvec.store.base import HybridStore

# Seconds. A search that a store does not answer must not keep the program from ending.
_GRACE = 1


class RunningPage:
    """A page that is served by a thread; `stop`, or the end of a ``with`` block, ends it.

    Attributes:
        url: Where the page is.
    """

    def __init__(self, app: Starlette, port: int) -> None:
        self._socket = bound(port)
        self.url = url_of(self._socket)
        self._server = _server(app)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="flagvec ui", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<flagvec ui on {self.url}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank" rel="noopener">flagvec ui on {self.url}</a>'

    def stop(self) -> None:
        """End the page; the store stays open. Stopping twice does nothing."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()


def serve(store: HybridStore, *, port: int = 0, name: str = "", settings: SearchKeywords | None = None) -> RunningPage:
    """Serve the page over a store from a thread of this process, on 127.0.0.1.

    Args:
        store: What is searched; it stays open.
        port: The port; 0 takes a free one.
        name: What the page calls the store.
        settings: What the page begins with, as `flagvec.search.settings.load_settings` returns it.

    Raises:
        ImportError: The extra ``ui`` is missing; has the pip line.
        OSError: The port cannot be used; says what to do.
    """
    return RunningPage(page_of(store, name, settings), port)


def run(app: Starlette, listener: socket.socket) -> None:
    """Serve a page until Ctrl-C.

    Args:
        app: What `page_of` returned.
        listener: What `bound` returned.
    """
    # uvicorn stops first, and then raises the signal again.
    with suppress(KeyboardInterrupt):
        _server(app).run(sockets=[listener])


def bound(port: int) -> socket.socket:
    """Return a socket that is bound to a port of 127.0.0.1.

    Raises:
        OSError: The port is in use or not allowed; says what to do.
    """
    listener = socket.socket()
    if sys.platform != "win32":  # there, it would let two programs take one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} is in use: pass --port with another one, or --port 0 for any free one"
            ) from None
        raise OSError(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}): pass --port 0 for a free one"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL of the page that a socket serves."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def _server(app: Starlette) -> uvicorn.Server:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=_GRACE
    )
    return uvicorn.Server(config)
