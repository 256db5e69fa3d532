"""``flagvec verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from flagvec.cli.exits import ExitCode, say
from flagvec.cli.options import JOURNAL, AsJson, Debug, JournalFile, Store
from flagvec.cli.output import counted, print_json
from flagvec.cli.stores import opened_without_model


def verify(
    store: Store,
    journal: JournalFile = JOURNAL,
    forget: Annotated[
        bool, typer.Option("--forget", help="Let the next ingest write what is missing or changed.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare a store with its journal, and list the ids that differ.

    missing: the store has lost it. changed: its text or metadata differ. unknown: other programs wrote it.
    """
    if not journal.exists():
        raise typer.BadParameter(f"there is no journal {journal}: name the journal of ingest with --journal")
    from flagvec.ingest import Journal
    from flagvec.ingest import verify as compared

    with opened_without_model(store) as opened, Journal(journal) as noted:
        found = compared(opened, noted, name=store.place, forget=forget)
    differing = {"missing": found.missing, "changed": found.changed, "unknown": found.unknown}
    if as_json:
        print_json({"documents": found.documents, **differing})
    else:
        for what, ids in differing.items():
            for one in ids:
                typer.echo(f"{what}\t{one}")
    if not found.is_equal:
        counts = ", ".join(f"{len(ids):,} {what}" for what, ids in differing.items())
        say(f"{counts}, of {counted(found.documents, 'document')}{_FORGOTTEN if forget else ''}")
        raise typer.Exit(ExitCode.FAILED)
    if not as_json:
        typer.echo(f"{counted(found.documents, 'document')}, as the journal says")


_FORGOTTEN = "; the next ingest writes the missing and changed ones"
