"""``python -m flagvec``, and the program ``flagvec``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        from flagvec.cli.app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        sys.exit(f"flagvec: the command line needs the package {package}: pip install 'flagvec[cli]'")
    app(prog_name="flagvec")


if __name__ == "__main__":
    main()
