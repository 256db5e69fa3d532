"""Every example in the README, on the pages of docs/ and in docstrings runs, and prints what it says.

A ``python`` block of a page runs after the blocks above it. A ``text`` block right below it is what it prints. One
process runs all pages, each in a namespace and a folder of its own, because importing torch takes longer than a page.

A block with the usual address of a server runs on the server that a variable names, in a collection that is dropped
afterwards. Without the variable it is left out. A block that needs a download begins with ``python no-run``: it is only
compiled. The summary of the run counts both.

The ``console`` blocks of a page are one session of a shell: commands after ``$``, which go on after ``>``, each with
what it prints below it.
"""

import contextlib
import doctest
import fcntl
import importlib
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import venv
from dataclasses import dataclass, replace
from itertools import takewhile, zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELASTICSEARCH = "http://127.0.0.1:9200"
PRINTED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# The environment variable that names a server, by the address that the pages give it.
SERVERS = {
    "http://localhost:6333": "QDRANT_URL",
    "http://localhost:9200": "ELASTICSEARCH_URL",
    "http://localhost:19530": "MILVUS_URI",
}

RUN_PAGES = """
import contextlib, gc, io, json, os, sys, traceback
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    folder, blocks = json.loads(line)
    os.chdir(folder)
    namespace, printed, error = {"__name__": "__main__"}, [], None
    try:
        for number, block in enumerate(blocks, 1):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block, f"<block {number}>", "exec"), namespace)
            printed.append(output.getvalue())
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([printed, error]), file=answers, flush=True)
    namespace.clear()  # closes what the page has left open
    gc.collect()
"""


@dataclass(frozen=True)
class Example:
    """A ``python`` block, what it prints if the page says so, and the ``pip install`` lines above it."""

    code: str
    printed: str | None
    pip_lines: tuple[str, ...]


def examples_of(markdown):
    """Return the blocks of a page that run."""
    fences = list(FENCE.finditer(markdown))
    found, pip_lines = [], ()
    for fence, following in zip_longest(fences, fences[1:]):
        if fence[1] == "sh":
            pip_lines += tuple(line for line in fence[2].splitlines() if line.startswith("pip install "))
        elif is_python(fence) and not is_unrun(fence):
            directly = following and following[1] == "text" and not markdown[fence.end() : following.start()].strip()
            found.append(Example(fence[2], following[2] if directly else None, pip_lines))
    return found


def unrun_blocks_of(markdown):
    """Return the blocks of a page that are marked ``no-run``."""
    return [fence[2] for fence in FENCE.finditer(markdown) if is_python(fence) and is_unrun(fence)]


def is_python(fence):
    return fence[1].split(maxsplit=1)[:1] == ["python"]


def is_unrun(fence):
    return "no-run" in fence[1].split()


def on_servers(examples):
    """Return the examples with the addresses of servers that the environment names, and the variables that it lacks."""
    found, missing = [], []
    for example in examples:
        addresses = [address for address in SERVERS if address in example.code]
        lacking = [SERVERS[address] for address in addresses if SERVERS[address] not in os.environ]
        if lacking:
            missing += lacking
            continue
        code = example.code
        for address in addresses:
            code = code.replace(address, os.environ[SERVERS[address]]).replace('"articles"', '"documentation"')
        found.append(replace(example, code=f"{code}\nstore.drop()\n" if addresses else code))
    return found, missing


class Interpreter:
    """A process of `python` that runs the examples of one page after another."""

    def __init__(self, python, **environment):
        self._process = subprocess.Popen(
            [python, "-c", RUN_PAGES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**without_python_path(), **environment},
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def run(self, examples, folder):
        """Run examples in an empty folder, and compare what they print."""
        assert not list(folder.iterdir())
        print(json.dumps([str(folder), [example.code for example in examples]]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with {self._process.wait()}"
        all_printed, error = json.loads(answer)
        assert error is None, error
        for example, printed in zip(examples, all_printed, strict=True):
            if example.printed is not None:
                same = doctest.OutputChecker().check_output(example.printed, printed, PRINTED)
                assert same, f"{example.code}\nprinted\n{printed}"


@dataclass(frozen=True)
class Typed:
    """A command of a session, and what it prints."""

    command: str
    printed: str


def session_of(markdown):
    """Return the commands of a page's ``console`` blocks, in order."""
    found = []
    for fence in FENCE.finditer(markdown):
        if fence[1] != "console":
            continue
        for part in re.split(r"^\$ ", fence[2], flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            more = list(takewhile(lambda line: line.startswith("> "), lines[1:]))
            command = "".join([lines[0], *(line[2:] for line in more)])
            found.append(Typed(command, "".join(lines[1 + len(more) :])))
    return found


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def pages_with_examples():
    return [page for page in PAGES[1:] if examples_of(page.read_text(encoding="utf-8"))]


def pages_with_sessions():
    found = [page for page in PAGES if session_of(page.read_text(encoding="utf-8"))]
    assert found, "no page shows a session"
    return found


def run_session(session, folder, environment):
    """Run the commands in one shell in a folder, and return what each printed to both streams."""
    # The exit code of a command is there for the next one.
    separated = [f"{typed.command}\n_code=$?; printf '\\036'; (exit $_code)\n" for typed in session]
    programs = folder / "programs"
    programs.mkdir()
    (programs / "flagvec").write_text(f'#!/bin/sh\nexec {sys.executable} -m flagvec "$@"\n')
    (programs / "flagvec").chmod(0o755)
    work = folder / "work"
    work.mkdir()
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # A terminal that cannot move its cursor shows no progress.
    shell = {"PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "80", "TERM": "dumb"}
    with subprocess.Popen(
        ["bash"],
        stdin=subprocess.PIPE,
        stdout=slave,
        stderr=slave,
        cwd=work,
        env={**without_python_path(), **environment, **shell},
    ) as process:
        os.close(slave)
        # The shell reads a command when it has ended the one before, so that it may take input too.
        process.stdin.write("".join(separated).encode())
        process.stdin.close()
        shown = b""
        with contextlib.suppress(OSError):  # the shell has ended
            while part := os.read(master, 65_536):
                shown += part
    os.close(master)
    *printed, rest = shown.decode().replace("\r\n", "\n").split("\036")
    assert len(printed) == len(session), rest
    return printed


def files_with_examples():
    files = [file for folder in ("core", "integrations") for file in (ROOT / folder).rglob("*.py")]
    return sorted(file.relative_to(ROOT) for file in files if ">>> " in file.read_text(encoding="utf-8"))


def import_file(file):
    """Import a file below core/ or integrations/ under its installed name."""
    parts = file.with_suffix("").parts[1:]
    return importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


@pytest.fixture
def hub_with_models(monkeypatch, hub_cache):
    """Let short names find random models that have the dimensions of the real ones."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub_cache))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """The environment variables of a user who has no cache yet."""
    folder = tmp_path_factory.mktemp("home")
    return {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / ".cache")}


@pytest.fixture(scope="module")
def interpreter(hub_cache, home):
    with Interpreter(sys.executable, HF_HUB_CACHE=str(hub_cache), **home) as running:
        yield running


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from the source distribution as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def fresh_python(tmp_path_factory):
    """The interpreter of a virtual environment with nothing in it but pip."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    yield str(folder / "bin/python")
    shutil.rmtree(folder)  # pytest would keep its gigabytes for three more runs


@pytest.fixture
def elasticsearch_node():
    """Return a function that gives the node's URL, so that only the example that needs one is skipped without it."""
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


def without_python_path():
    """Return the environment variables of a shell in which nobody set PYTHONPATH."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def call(*command):
    finished = subprocess.run(command, env=without_python_path(), capture_output=True, text=True)
    assert finished.returncode == 0, f"{shlex.join(command)}\n{finished.stdout}{finished.stderr}"


def pip_arguments(line, wheel):
    """Return the arguments of a ``pip install`` line, with `wheel` for flagvec."""
    arguments = shlex.split(line)[2:]
    with_wheel = [re.sub(r"^flagvec(\[.*\])?$", rf"flagvec\1 @ {wheel.as_uri()}", argument) for argument in arguments]
    assert with_wheel != arguments, f"{line!r} does not install flagvec"
    return with_wheel


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


@pytest.mark.fresh_environment
def test_the_readme_works_after_its_pip_lines(wheel, fresh_python, home, tmp_path_factory):
    examples = examples_of(README.read_text(encoding="utf-8"))
    assert examples and examples[0].pip_lines, "README.md shows no program, or no pip line above it"
    installed = ()
    while len(installed) < len(examples[-1].pip_lines):
        # Each pip line adds to the environment. The blocks above the next one have to run with what is there by then.
        line = examples[-1].pip_lines[len(installed)]
        installed += (line,)
        # Compiling every module of torch beforehand would take longer than the examples.
        options = ("--no-compile", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"))
        call(fresh_python, "-m", "pip", "install", *options, *pip_arguments(line, wheel))
        runnable = [example for example in examples if len(example.pip_lines) <= len(installed)]
        with Interpreter(fresh_python, **home) as interpreter:
            interpreter.run(runnable, tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("page", pages_with_examples(), ids=page_id)
def test_the_examples_of_a_page_print_what_they_say(page, interpreter, tmp_path):
    examples, missing = on_servers(examples_of(page.read_text(encoding="utf-8")))
    interpreter.run(examples, tmp_path)
    if missing:
        pytest.skip(f"{page_id(page)}: {len(missing)} blocks need a server; set {' or '.join(sorted(set(missing)))}")


@pytest.mark.parametrize("page", pages_with_sessions(), ids=page_id)
def test_the_session_of_a_page_prints_what_it_says(page, tmp_path):
    session = session_of(page.read_text(encoding="utf-8"))
    for typed, printed in zip(session, run_session(session, tmp_path, {"HOME": str(tmp_path)}), strict=True):
        same = doctest.OutputChecker().check_output(typed.printed, printed, PRINTED)
        assert same, f"{typed.command}\nprinted\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_blocks_that_are_not_run_are_valid_python(page):
    blocks = unrun_blocks_of(page.read_text(encoding="utf-8"))
    for block in blocks:
        compile(block, page_id(page), "exec")
    if blocks:
        pytest.skip(f"{page_id(page)}: {len(blocks)} blocks are marked no-run, and only compiled")


def test_a_text_block_is_the_output_of_the_python_block_right_above_it():
    markdown = fenced(
        ("python", "print(1)"), ("text", "1"), ("sh", "ls"), ("python", "print(2)"), "In words:", ("text", "3"),
        ("python", "print(4)"),
    )  # fmt: skip
    found = [(example.code, example.printed) for example in examples_of(markdown)]
    assert found == [("print(1)\n", "1\n"), ("print(2)\n", None), ("print(4)\n", None)]


def test_a_block_needs_the_pip_lines_above_it():
    markdown = fenced(
        ("sh", "pip install 'flagvec[demo]'"), ("python", "1"), ("sh", "pip install 'flagvec[x]'\nmake test"),
        ("python", "2"),
    )  # fmt: skip
    first, second = (example.pip_lines for example in examples_of(markdown))
    assert first == ("pip install 'flagvec[demo]'",)
    assert second == (*first, "pip install 'flagvec[x]'")


def test_blocks_marked_no_run_do_not_run():
    markdown = fenced(("python no-run", "1"), ("python", "2"), ('python no-run title="theirs"', "3"))
    assert [example.code for example in examples_of(markdown)] == ["2\n"]
    assert unrun_blocks_of(markdown) == ["1\n", "3\n"]


def test_a_block_may_have_a_title():
    assert [
        example.code
        for example in examples_of(
            fenced(
                ('python title="ours"', "1"),
            )
        )
    ] == ["1\n"]


def test_a_block_that_needs_a_server_runs_on_the_one_of_a_variable_and_leaves_nothing_there(monkeypatch):
    page = fenced(("python", 'client = Elasticsearch("http://localhost:9200")\nstore = Store(client, "articles")'))
    monkeypatch.delenv("ELASTICSEARCH_URL", raising=False)
    assert on_servers(examples_of(page)) == ([], ["ELASTICSEARCH_URL"])
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://node:1")
    ([example], missing) = on_servers(examples_of(page))
    assert not missing
    assert example.code.split("\n") == [
        'client = Elasticsearch("http://node:1")', 'store = Store(client, "documentation")', "", "store.drop()", ""
    ]  # fmt: skip


def test_a_session_has_commands_of_several_lines_and_what_they_print():
    markdown = fenced(("console", "$ cat <<END\n> one\n> END\none\n$ true"), ("sh", "$ ls"), ("console", "$ echo 2\n2"))
    assert session_of(markdown) == [
        Typed("cat <<END\none\nEND\n", "one\n"),
        Typed("true\n", ""),
        Typed("echo 2\n", "2\n"),
    ]


def test_a_command_of_a_session_sees_the_exit_code_of_the_one_before(tmp_path):
    assert run_session([Typed("false\n", ""), Typed("echo $?\n", "")], tmp_path, {}) == ["", "1\n"]


def test_a_pip_line_installs_the_wheel_with_its_extras():
    wheel = Path("/wheels/flagvec.whl")
    assert pip_arguments("pip install 'flagvec[demo]' rich", wheel) == [
        "flagvec[demo] @ file:///wheels/flagvec.whl",
        "rich",
    ]
    assert pip_arguments("pip install flagvec", wheel) == ["flagvec @ file:///wheels/flagvec.whl"]


def fenced(*parts):
    """Return Markdown of sentences and of (language, code) blocks."""
    blocks = (part if isinstance(part, str) else f"```{part[0]}\n{part[1]}\n```" for part in parts)
    return "\n\n".join(blocks) + "\n"
