"""How a command ends: the exit codes, and one line for each error."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from flagvec.cli.output import counted
from flagvec.errors import FlagvecError
from flagvec.ingest.report import without_secrets

# A longer message is cut here.
_LONGEST_LINE = 2_000


class ExitCode(IntEnum):
    """What a process tells its caller; 65 and 75 are those of ``sysexits.h``.

    Attributes:
        FAILED: Something failed, and running the command again may fail in the same way.
        USAGE: The arguments are wrong.
        DATAERR: The command finished, and some documents were refused for good.
        TEMPFAIL: A store is away. The same command goes on where this one stopped.
        INTERRUPTED: Ctrl-C, or SIGINT. With a journal, the same command goes on where this one stopped.
    """

    FAILED = 1
    USAGE = 2
    DATAERR = 65
    TEMPFAIL = 75
    INTERRUPTED = 130


class Command(TyperCommand):
    """A command whose errors become one line on standard error and an exit code; ``--debug`` shows the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            typer.Exit: It failed, or was interrupted.
        """
        is_debugging = bool(ctx.params.get("debug"))
        if is_debugging:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            code = ExitCode.INTERRUPTED
        except Exception as error:
            # Typer prints its own errors, and ends quietly if nobody reads standard output any more.
            if _is_typers(error) or getattr(error, "errno", None) == errno.EPIPE:
                raise
            if is_debugging:
                typer.echo(without_secrets("".join(traceback.format_exception(error))), err=True)
            say(message_of(error))
            code = code_of(error)
        raise typer.Exit(code)


def code_of(error: Exception) -> ExitCode:
    """Return the exit code of an error that ended a command."""
    if getattr(error, "is_away", False):
        return ExitCode.TEMPFAIL
    # Wrong arguments are a plain ValueError or TypeError. Some of flagvec's own errors are a ValueError too.
    is_usage = isinstance(error, (ValueError, TypeError)) and not isinstance(error, (FlagvecError, UnicodeError))
    return ExitCode.USAGE if is_usage else ExitCode.FAILED


def message_of(error: Exception) -> str:
    """Return an error in one line, without secrets."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{os.fspath(error.filename)}: {error.strerror}"
    elif not isinstance(error, (FlagvecError, ValueError, TypeError, ImportError, OSError)):
        message = f"{type(error).__name__}: {message} (--debug shows where)"
    message = without_secrets(message)
    return message if len(message) <= _LONGEST_LINE else f"{message[:_LONGEST_LINE]}..."


def end_if_refused(documents: int, dead_letters: Path | None, is_silent: bool = False) -> None:
    """End the command if documents were refused, with a line that names the file that has them.

    Raises:
        typer.Exit: Documents were refused.
    """
    if documents:
        if not is_silent:
            say(f"{counted(documents, 'document')} refused: {dead_letters} says which and why")
        raise typer.Exit(ExitCode.DATAERR)


def say(message: str) -> None:
    """Write a line to standard error."""
    sys.stdout.flush()
    typer.echo(f"flagvec: {message}", err=True)


def _is_typers(error: Exception) -> bool:
    # Typer has exceptions of Click in a package of its own or in Click itself, depending on its version.
    return isinstance(error, (typer.Exit, typer.Abort)) or hasattr(error, "format_message")
