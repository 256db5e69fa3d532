"""``flagvec verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from flagvec.cli.exits import ExitCode, say
from flagvec.cli.loading import model_of
from flagvec.cli.options import JOURNAL, AsJson, Debug, JournalFile, Store
from flagvec.cli.output import counted, print_json
from flagvec.cli.stores import existing_schema, opened


def verify(
    store: Store,
    journal: JournalFile = JOURNAL,
    forget: Annotated[
        bool, typer.Option("--forget", help="Let the next ingest write what is missing or changed.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare a store with its journal, and list the ids that differ."""
    if not journal.exists():
        raise typer.BadParameter(f"there is no journal {journal}: --journal names the one that ingest used")
    ...
