import contextlib
import io

import pytest

import llama_index_quickstart

QUESTION = "How can I edit binary data in a file?"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The lines that the example prints: three hits, then the answer, which repeats the prompt."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.chdir(tmp_path_factory.mktemp("folder"))
        llama_index_quickstart.main(QUESTION)
    return output.getvalue().splitlines()


def test_the_package_that_is_asked_for_is_found_first(printed):
    packages, scores = zip(*(line.split()[:2] for line in printed[:3]), strict=True)
    assert packages[0] == "poke:"
    assert len(set(packages)) == 3
    assert list(scores) == sorted(scores, reverse=True)
    assert float(scores[0]) > float(scores[1]) + 0.05


def test_the_language_model_is_given_the_question_and_what_was_found(printed):
    prompt = "\n".join(printed[3:])
    assert prompt.startswith("Context information is below.")
    assert "package: poke\n\nGNU poke is an interactive, extensible editor for binary data." in prompt
    assert f"Query: {QUESTION}" in prompt
