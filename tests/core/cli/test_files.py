"""``flagvec encode``, ``load`` and ``export``."""

import json

import pytest

ROWS = [{"id": f"no-{number}", "text": f"Recipe number {number} is for rice.", "n": number} for number in range(5)]


def test_vectors_go_from_files_into_a_store_and_back(flagvec, jsonl, tiny_m3_directory, documents_of):
    encoded = flagvec("encode", jsonl("docs.jsonl", *ROWS), "-o", "vectors", "--model", tiny_m3_directory)
    assert (encoded.code, encoded.out) == (0, "5 documents written; vectors has 1 file\n")
    loaded = flagvec("load", "vectors", "--store", "edge:./one", "--json")
    assert loaded.code == 0
    assert (loaded.json["read"], loaded.json["encoded"]) == (5, 0)
    exported = flagvec("export", "--store", "edge:./one", "-o", "exported")
    assert (exported.code, exported.out) == (0, "5 documents written; exported has 1 file\n")
    assert flagvec("load", "exported", "--store", "milvus-lite:./library.db/two").code == 0
    assert documents_of("milvus-lite:./library.db/two") == documents_of("edge:./one")


def test_a_store_of_loaded_vectors_is_searched_with_their_model(flagvec, jsonl, tiny_m3_directory):
    flagvec("encode", jsonl("docs.jsonl", *ROWS), "-o", "vectors", "--model", tiny_m3_directory)
    flagvec("load", "vectors", "--store", "edge:./one")
    [hit] = flagvec("search", ROWS[3]["text"], "--store", "edge:./one", "-n", 1, "--mode", "dense", "--json").json
    assert hit["id"] == "no-3"
    assert hit["score"] == pytest.approx(1, abs=1e-2)


def test_vectors_of_documents_that_the_journal_has_are_not_loaded_again(flagvec, jsonl, tiny_m3_directory):
    file, model = jsonl("docs.jsonl", *ROWS), ("--model", tiny_m3_directory)
    assert flagvec("ingest", file, "--store", "edge:./one", *model).code == 0
    flagvec("encode", file, "-o", "vectors", *model)
    loaded = flagvec("load", "vectors", "--store", "edge:./one", "--json")
    assert (loaded.code, loaded.json["stores"]["edge:./one"]["unchanged"]) == (0, 5), loaded.err


def test_encoding_again_goes_on(flagvec, jsonl, tiny_m3_directory):
    command = ("encode", jsonl("docs.jsonl", *ROWS), "-o", "vectors", "--model", tiny_m3_directory, "--json")
    assert flagvec(*command).json["written"] == 5
    again = flagvec(*command).json
    assert (again["written"], again["found"]) == (0, 5)


def test_a_document_that_cannot_be_encoded_is_a_dead_letter(flagvec, jsonl, tiny_m3_directory, tmp_path):
    file = jsonl("docs.jsonl", ROWS[0], "[]")
    done = flagvec("encode", file, "-o", "vectors", "--model", tiny_m3_directory)
    assert done.code == 65
    assert json.loads((tmp_path / "dead-letters.jsonl").read_text())["id"] == "docs.jsonl:2"


def test_or_it_stops(flagvec, jsonl, tiny_m3_directory, tmp_path):
    file = jsonl("docs.jsonl", ROWS[0], "[]")
    done = flagvec("encode", file, "-o", "vectors", "--model", tiny_m3_directory, "--on-error", "stop")
    assert done.code == 65
    assert done.err.startswith("flagvec: docs.jsonl, line 2: a JSON array, not an object")


def test_only_what_a_filter_chooses_is_exported(flagvec, articles):
    done = flagvec("export", "--store", articles, "-o", "vectors", "--filter", '{"lang": "fr"}', "--json")
    assert done.json["written"] == 1


def test_an_export_does_not_add_to_other_vectors(flagvec, articles):
    flagvec("export", "--store", articles, "-o", "vectors")
    done = flagvec("export", "--store", articles, "-o", "vectors")
    assert done.code == 1
    assert "'vectors' holds files of vectors already: choose another" in done.err


def test_a_directory_without_vectors_is_one_line(flagvec, tmp_path):
    (tmp_path / "empty").mkdir()
    done = flagvec("load", "empty", "--store", "edge:./one")
    assert done.code == 1
    assert done.err.startswith(
        "flagvec: 'empty' holds no files of vectors: flagvec encode and flagvec export write them"
    )
    assert not (tmp_path / "one").exists()
