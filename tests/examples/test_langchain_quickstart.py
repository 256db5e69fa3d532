import pytest
from langchain_core.language_models.fake import FakeListLLM

import langchain_quickstart

QUESTIONS = {
    "How can I edit binary data in a file?": "poke",
    "Which package reads dbf files in Python?": "python3-dbf",
    "Where do I find a font for Thai?": "fonts-tlwg-waree",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("question", "package"), QUESTIONS.items())
def test_the_package_that_is_asked_for_is_found_first_and_answered(capsys, question, package):
    langchain_quickstart.main(question)
    *hits, answer = capsys.readouterr().out.splitlines()
    assert len(hits) == 3
    assert hits[0].startswith(f"{package}: ")
    assert answer == f"Try {package}."


def test_the_language_model_is_given_the_question_and_what_was_found(monkeypatch):
    asked = []

    class ListeningLLM(FakeListLLM):
        def _call(self, prompt, *arguments, **options):
            asked.append(prompt)
            return super()._call(prompt, *arguments, **options)

    monkeypatch.setattr(langchain_quickstart, "FakeListLLM", ListeningLLM)
    langchain_quickstart.main()
    [prompt] = asked
    assert "GNU poke is an interactive, extensible editor for binary data." in prompt
    assert prompt.endswith("Question: How can I edit binary data in a file?")
