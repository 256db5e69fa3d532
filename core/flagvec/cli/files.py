"""What ``encode`` and ``export`` print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flagvec.cli.exits import end_if_refused
from flagvec.cli.output import counted, print_json

if TYPE_CHECKING:
    from flagvec.ingest.vector_writer import FilesReport


def print_report(report: FilesReport, directory: Path, dead_letters: Path | None, as_json: bool) -> None:
    """Print what was written into a directory.

    Raises:
        typer.Exit: Documents were refused, and are in the dead letters.
    """
    if as_json:
        print_json(
            {
                "directory": str(directory),
                "files": [str(file) for file in report.files],
                "written": report.written,
                "found": report.found,
                "failed": report.failed,
                "truncated": report.truncated,
                "dead_letters": str(dead_letters) if report.failed else None,
            }
        )
    else:
        found = f", {report.found:,} were there" if report.found else ""
        truncated = f", {report.truncated:,} truncated" if report.truncated else ""
        files = counted(len(report.files), "file")
        typer.echo(f"{counted(report.written, 'document')} written{found}{truncated}; {directory} has {files}")
    end_if_refused(report.failed, dead_letters)
