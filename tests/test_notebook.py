"""The notebooks in examples/notebooks, and the README's first program, in real Jupyter kernels."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIRST = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RETRIEVER = """
from langchain_flagvec import FlagRetriever

retriever = FlagRetriever(store=store, k=1)
store
"""
ALL_DOCUMENTS = "retriever.invoke('loaf')[0].page_content, len(store)"
OTHER_MODEL = ('MODEL = "mini-m3"', 'MODEL = "bge-m3"')
LARGEST_BYTES = 200_000
NAME_OF = {"ids": lambda path: path.stem}

# The examples are scripts, not a package.
spec = spec_from_file_location("run_notebooks", FOLDER / "run.py")
run = module_from_spec(spec)
spec.loader.exec_module(run)


@pytest.fixture
def outputs(tmp_path):
    """A function that runs cells in one kernel, in an empty folder, and returns what each of them printed or showed."""

    def outputs_of_cells(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        return ["".join(map(shown, cell.outputs)) for cell in notebook.cells]

    return outputs_of_cells


def shown(output):
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    data = output.get("data", {})
    return "" if run.WIDGET in data else data.get("text/plain", "")


def read(path):
    return nbformat.read(path, as_version=4)


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def texts_of(notebook):
    """Return what each cell shows, without decimals and large numbers, because these depend on the machine's speed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [re.sub(r"\d+\.\d+|\d{1,3}(,\d{3})+|\d{3,}", "#", "".join(map(shown, cell.outputs))) for cell in cells]


@pytest.mark.filterwarnings("default")
def test_the_first_program_runs_twice_with_a_retriever_holding_the_first_store(outputs):
    program, printed = FIRST.search((ROOT / "README.md").read_text()).groups()
    first, store, again, documents = outputs(program, RETRIEVER, program, ALL_DOCUMENTS)
    assert first == again == printed
    assert store == "QdrantEdgeStore('mini-m3', 'index')"
    assert documents == "('Bread is baked in a hot oven.', 2)"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, **NAME_OF)
def test_a_notebook_shows_what_is_committed(path, tmp_path, monkeypatch):
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    committed = texts_of(read(path))
    assert texts_of(run.executed(read(path), run.laid_out(tmp_path))) == committed


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, **NAME_OF)
def test_a_notebook_runs_with_bge_m3_after_one_changed_line(path, tmp_path, monkeypatch, hub_cache):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    notebook = read(path)
    changed = [cell for cell in notebook.cells if OTHER_MODEL[0] in cell.source]
    assert len(changed) == 1
    changed[0].source = changed[0].source.replace(*OTHER_MODEL)
    run.executed(notebook, run.laid_out(tmp_path))


@pytest.mark.parametrize("path", NOTEBOOKS, **NAME_OF)
def test_the_committed_outputs_are_small_and_without_errors_and_paths(path):
    found = outputs_of(read(path))
    assert found
    assert not [output for output in found if output.output_type == "error"]
    assert all(kind in run.SHOWN for output in found for kind in output.get("data", {}))
    assert not re.findall(r"/(?:tmp|home|root|work|Users)/", "".join(map(shown, found)))
    assert path.stat().st_size < LARGEST_BYTES
