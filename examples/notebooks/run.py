"""Run the notebooks in this folder and write their outputs into them: `python examples/notebooks/run.py [NAME ...]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
# A code host shows these. It strips the styles of HTML, and shows HTML in place of text.
SHOWN = ("text/plain", "image/png")


def laid_out(folder: Path) -> Path:
    """Return a directory for a notebook below `folder`, with the data of the examples where notebooks expect them."""
    (folder / "data").symlink_to(FOLDER.parent / "data")
    (folder / "notebooks").mkdir()
    return folder / "notebooks"


def executed(notebook: Any, folder: Path, timeout: int = 300) -> Any:
    """Return a notebook that ran in a kernel of its own, in `folder`, with the outputs that are kept.

    Raises:
        CellExecutionError: A cell raised.
    """
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # has the times of the run
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output)) is not None]
    return notebook


def _kept(output: Any) -> Any:
    """Return an output as it is committed; None for a progress bar or a log."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if WIDGET in output.data:
        return None
    output.data = {kind: value for kind, value in output.data.items() if kind in SHOWN}
    output.metadata.clear()
    return output


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all."""
    # Without a server, everybody gets the same outputs.
    os.environ.pop("ELASTICSEARCH_URL", None)
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as folder:
            executed(notebook, laid_out(Path(folder)))
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
