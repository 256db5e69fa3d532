"""How the program starts and ends: what it imports, its help, its version, and its exit codes."""

import json
import re
import subprocess
import sys

import pytest

from flagvec import __version__
from flagvec.cli.exits import message_of

COMMANDS = (
    "ingest", "search", "evaluate", "tune", "stats", "delete", "verify", "migrate", "encode", "load", "export",
    "models", "doctor",
)  # fmt: skip
IMPORTED = """
import contextlib, io, json, sys
from flagvec.__main__ import main
sys.argv = ["flagvec", *json.loads(sys.argv[1])] if len(sys.argv) > 1 else ["flagvec", {arguments}]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
print(json.dumps(sorted(sys.modules)))
"""
# What takes long to import, and is for encoding, files, or one database.
HEAVY = {
    "torch",
    "transformers",
    "scipy",
    "pyarrow",
    "qdrant_client",
    "qdrant_edge",
    "pymilvus",
    "elasticsearch",
    "pandas",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["ingest", "--help"],
        ["models"],
        ["--version"],
        ["search"],
        ["tune", "--help"],
        ["stats", "--store", "http://host"],
        ["ingest", "missing.jsonl", "--store", "edge:./articles", "--overlap", "1"],
    ],
    ids=" ".join,
)
def test_what_needs_no_model_imports_nothing_heavy(run_python, arguments):
    listed = ", ".join(map(repr, arguments))
    imported = json.loads(run_python(IMPORTED.replace("{arguments}", listed)))
    assert not HEAVY & {name.partition(".")[0] for name in imported}
    assert sum(name.startswith("flagvec") for name in imported) < 60


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_is_at_most_80_columns_wide_and_cuts_nothing(flagvec, command):
    done = flagvec(*command, "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "..." not in done.out.partition("\n")[2]


def test_every_command_is_in_the_help_with_the_exit_codes(flagvec):
    said = flagvec("--help").out
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", said, re.MULTILINE)] == []
    assert re.findall(r"\b(0|1|2|65|75|130) [a-z]", " ".join(said.split())) == ["0", "1", "2", "65", "75", "130"]


def test_the_version_is_the_packages(flagvec):
    assert flagvec("--version").out == f"flagvec {__version__}\n"


def test_it_runs_as_a_module():
    finished = subprocess.run([sys.executable, "-m", "flagvec", "--version"], capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (0, f"flagvec {__version__}\n")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_extra_it_says_what_to_install(run_python, package):
    code = f"""
import sys
sys.modules[{package!r}] = None
from flagvec.__main__ import main
try:
    main()
except SystemExit as ended:
    print(ended.code)
"""
    needed = f"flagvec: the command line needs the package {package}: pip install 'flagvec[cli]'\n"
    assert run_python(code) == needed


def test_completion_is_offered(flagvec):
    assert "--install-completion" in flagvec("--help").out


def test_commands_and_options_are_completed(run_python):
    code = "import sys; sys.argv = ['flagvec']; from flagvec.__main__ import main; main()"
    shell = {"_FLAGVEC_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "flagvec mi"}
    assert run_python(code, **shell).split() == ["migrate"]
    shell |= {"COMP_CWORD": "2", "COMP_WORDS": "flagvec migrate --al"}
    assert run_python(code, **shell).split() == ["--alias"]


def test_an_error_has_its_traceback_only_if_asked_for(flagvec):
    arguments = ("search", "x", "--store", "edge:./none")
    assert "Traceback" not in flagvec(*arguments).err
    debugged = flagvec(*arguments, "--debug")
    assert debugged.code == 1
    assert "Traceback" in debugged.err and debugged.err.splitlines()[-1].startswith("flagvec: edge:./none does not")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\nlines"), "two lines"),
        (OSError(28, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero (--debug shows where)"),
        (ValueError("at https://me:hunter2@host"), "at https://***@host"),
        (KeyError(), "KeyError: KeyError (--debug shows where)"),
    ],
)
def test_every_error_is_one_line(error, line):
    assert message_of(error) == line


def test_a_reader_that_goes_away_is_no_error(articles, tmp_path):
    command = f"{sys.executable} -m flagvec models | head -n 1"
    finished = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert finished.stdout.startswith("bge-large-en-v1.5\t") and finished.stderr == ""
