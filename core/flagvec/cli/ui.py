"""``flagvec ui``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from flagvec.cli.exits import say
from flagvec.cli.loading import model_of
from flagvec.cli.options import Debug, Device, Model, Store
from flagvec.cli.stores import existing_schema, opened
from flagvec.search.settings import load_settings

_PORT = 8765


def ui(
    store: Store,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for any free one.")] = _PORT,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", dir_okay=False, help="Weights to begin with, from flagvec tune."),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    model: Model = None,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Show a store in the browser, and search it there.

    The page reads only, and this machine alone can reach it. Ctrl-C ends it.
    """
    # First, because a missing extra should not wait for a model to load.
    from flagvec.ui.app import page_of
    from flagvec.ui.server import bound, run, url_of

    begin_with = None if settings is None else load_settings(settings)
    with bound(port) as listener:
        schema = existing_schema(store)
        encoder = model_of(schema, model, devices=device)
        with opened(store, encoder, colbert=schema.colbert_dimension is not None) as searched:
            say(f"{url_of(listener)} shows {store}; Ctrl-C ends it")
            if open_browser:
                webbrowser.open(url_of(listener))
            run(page_of(searched, store.url, begin_with), listener)
    say("ended")
