"""The README's first program in a real Jupyter kernel, with its cell run twice."""

import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[1]
FIRST = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RETRIEVER = """
from langchain_flagvec import FlagRetriever

retriever = FlagRetriever(store=store, k=1)
store
"""
ALL_DOCUMENTS = "retriever.invoke('loaf')[0].page_content, len(store)"


@pytest.fixture
def outputs(tmp_path):
    """A function that runs cells in one kernel, in an empty folder, and returns what each of them printed or showed."""

    def run(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        return ["".join(map(shown, cell.outputs)) for cell in notebook.cells]

    return run


def shown(output):
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    return output.get("data", {}).get("text/plain", "")


@pytest.mark.filterwarnings("default")
def test_the_first_program_runs_twice_with_a_retriever_holding_the_first_store(outputs):
    program, printed = FIRST.search((ROOT / "README.md").read_text()).groups()
    first, store, again, documents = outputs(program, RETRIEVER, program, ALL_DOCUMENTS)
    assert first == again == printed
    assert store == "QdrantEdgeStore('mini-m3', 'index')"
    assert documents == "('Bread is baked in a hot oven.', 2)"
