"""``python -m flagvec``, and the program ``flagvec``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        from flagvec.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"flagvec: the command line needs the package {error.name}: pip install 'flagvec[cli]'")
    app(prog_name="flagvec")


if __name__ == "__main__":
    main()
