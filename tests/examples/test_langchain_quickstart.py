from pathlib import Path

import pytest
from langchain_core.language_models.fake import FakeListLLM

import langchain_quickstart

QUESTIONS = {
    "How can I edit binary data in a file?": "poke",
    "Which package reads dbf files in Python?": "python3-dbf",
    "Where do I find a font for Thai?": "fonts-tlwg-waree",
}


@pytest.fixture(scope="module")
def build(tmp_path_factory, mini_m3):
    directory = tmp_path_factory.mktemp("build")
    (directory / "mini-m3").symlink_to(mini_m3)
    return directory


@pytest.mark.parametrize(("question", "package"), QUESTIONS.items())
def test_the_package_that_is_asked_for_is_found_first_and_answered(build, capsys, question, package):
    langchain_quickstart.main(build, question)
    *hits, answer = capsys.readouterr().out.splitlines()
    assert len(hits) == 3
    assert hits[0].startswith(f"{package}: ")
    assert answer == f"Try {package}."


def test_the_language_model_is_given_the_question_and_what_was_found(build, monkeypatch):
    asked = []

    class ListeningLLM(FakeListLLM):
        def _call(self, prompt, *arguments, **options):
            asked.append(prompt)
            return super()._call(prompt, *arguments, **options)

    monkeypatch.setattr(langchain_quickstart, "FakeListLLM", ListeningLLM)
    langchain_quickstart.main(build)
    [prompt] = asked
    assert "GNU poke is an interactive, extensible editor for binary data." in prompt
    assert prompt.endswith("Question: How can I edit binary data in a file?")


def test_it_is_under_50_lines():
    assert len(Path(langchain_quickstart.__file__).read_text(encoding="utf-8").splitlines()) < 50
