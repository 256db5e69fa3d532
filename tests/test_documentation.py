"""Every example in the README and in docstrings runs, and prints what it says."""

import doctest
import importlib
import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELASTICSEARCH = "http://127.0.0.1:9200"
PRINTED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

RUN_BLOCKS = """
import contextlib, io, json, pathlib
namespace, printed = {"__name__": "__main__"}, []
for number, block in enumerate(json.loads(pathlib.Path("blocks.json").read_text())):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(block, f"<block {number} of README.md>", "exec"), namespace)
    printed.append(output.getvalue())
print(json.dumps(printed))
"""


def examples_of(markdown):
    """Return each ``python`` block with the ``text`` block that directly follows it, or None."""
    fences = list(FENCE.finditer(markdown))
    found = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] == "python":
            directly = following and following[1] == "text" and not markdown[fence.end() : following.start()].strip()
            found.append((fence[2], following[2] if directly else None))
    return found


def files_with_examples():
    files = [file for folder in ("core", "integrations") for file in (ROOT / folder).rglob("*.py")]
    return sorted(file.relative_to(ROOT) for file in files if ">>> " in file.read_text(encoding="utf-8"))


def import_file(file):
    """Import a file below core/ or integrations/ under its installed name."""
    parts = file.with_suffix("").parts[1:]
    return importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


@pytest.fixture
def hub_with_models(monkeypatch, hub_cache):
    """Let short names find random models, of the real ones' dimensions."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub_cache))


@pytest.fixture
def elasticsearch_node():
    """Return how to ask for the node, so that only the example that needs one is skipped without it."""
    asked = []

    def ask():
        if "ELASTICSEARCH_URL" not in os.environ:
            pytest.skip("ELASTICSEARCH_URL is not set")
        asked.append(os.environ["ELASTICSEARCH_URL"])
        delete_example_index(asked[0])
        return asked[0]

    yield ask
    if asked:
        delete_example_index(asked[0])


def delete_example_index(url):
    from elasticsearch import Elasticsearch

    with Elasticsearch(url) as client:
        client.indices.delete(index="recipes", ignore_unavailable=True)


@pytest.mark.parametrize("file", files_with_examples(), ids=str)
def test_docstring_examples_print_what_they_say(file, hub_with_models, elasticsearch_node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = []
    runner = doctest.DocTestRunner(optionflags=PRINTED)
    for test in doctest.DocTestFinder().find(import_file(file)):
        for example in test.examples:
            if ELASTICSEARCH in example.source:
                example.source = example.source.replace(ELASTICSEARCH, elasticsearch_node())
        runner.run(test, out=printed.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(printed)


def test_readme_examples_print_what_they_say(run_python, hub_cache, tmp_path):
    examples = examples_of((ROOT / "README.md").read_text(encoding="utf-8"))
    assert examples, "README.md shows no Python"
    (tmp_path / "blocks.json").write_text(json.dumps([block for block, _ in examples]))
    printed = json.loads(run_python(RUN_BLOCKS, cwd=tmp_path, HF_HUB_CACHE=str(hub_cache)))
    for (block, expected), found in zip(examples, printed, strict=True):
        if expected is not None:
            assert doctest.OutputChecker().check_output(expected, found, PRINTED), f"{block}\nprinted\n{found}"


def test_a_text_block_is_the_output_of_the_python_block_right_above_it():
    fence = "```"
    markdown = (
        f"{fence}python\nprint(1)\n{fence}\n\n{fence}text\n1\n{fence}\n{fence}sh\nls\n{fence}\n"
        f"{fence}python\nprint(2)\n{fence}\nIn words:\n{fence}text\n3\n{fence}\n{fence}python\nprint(4)\n{fence}\n"
    )
    assert examples_of(markdown) == [("print(1)\n", "1\n"), ("print(2)\n", None), ("print(4)\n", None)]
