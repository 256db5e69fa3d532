"""``flagvec ingest`` and ``verify``."""

import gzip
import json
import subprocess
import sys

import pytest

RICE = {"id": "rice", "text": "Rice is cooked in water.", "lang": "en"}
BREAD = {"id": "bread", "text": "Bread is baked in an oven.", "lang": "en"}
STORE = ("--store", "edge:./articles")


@pytest.fixture
def ingest(flagvec, tiny_m3_directory):
    """Run the command with the tiny model on an edge store."""
    return lambda *arguments, **options: flagvec(
        "ingest", *arguments, *STORE, "--model", tiny_m3_directory, "--device", "cpu", **options
    )


def test_documents_of_a_file_are_in_the_store(ingest, jsonl, documents_of):
    done = ingest(jsonl("docs.jsonl", RICE, BREAD))
    assert (done.code, done.err) == (0, "")
    assert "2 documents read, 2 encoded" in done.out
    assert documents_of("edge:./articles")["rice"].metadata == {"lang": "en"}


def test_json_is_the_report(ingest, jsonl):
    found = ingest(jsonl("docs.jsonl", RICE, BREAD), "--json").json
    assert (found["read"], found["encoded"], found["is_complete"], found["dead_letters"]) == (2, 2, True, None)
    [store] = found["stores"].values()
    assert store["written"] == 2


def test_the_same_command_again_encodes_nothing(ingest, jsonl):
    file = jsonl("docs.jsonl", RICE, BREAD)
    ingest(file)
    assert ingest(file, "--json").json["encoded"] == 0
    assert ingest(file, "--json", "--no-skip-unchanged").json["encoded"] == 2
    assert ingest(file, "--json", "--no-journal").json["encoded"] == 2


def test_several_files_and_patterns_are_read(ingest, jsonl, tmp_path, documents_of):
    jsonl("a.jsonl", RICE)
    jsonl("b.jsonl", BREAD)
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"id,text\ncsv,From a table.\n"))
    assert ingest("?.jsonl", "c.csv.gz").code == 0
    assert documents_of("edge:./articles").keys() == {"rice", "bread", "csv"}


def test_standard_input_is_read(tiny_m3_directory, flagvec, documents_of):
    command = [sys.executable, "-m", "flagvec", "ingest", "-", *STORE, "--model", str(tiny_m3_directory)]
    rows = f"{json.dumps(RICE)}\n{json.dumps(BREAD)}\n"
    finished = subprocess.run(command, input=rows, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert documents_of("edge:./articles").keys() == {"rice", "bread"}


def test_columns_are_picked_and_joined(ingest, jsonl, documents_of):
    file = jsonl("docs.jsonl", {"no": 7, "title": "Rice", "body": "How to cook it.", "lang": "en", "secret": 1})
    assert ingest(file, "--text", "{title}\\n{body}", "--id", "no", "--metadata", "lang").code == 0
    found = documents_of("edge:./articles")
    assert (found["7"].text, found["7"].metadata) == ("Rice\nHow to cook it.", {"lang": "en"})


def test_long_documents_are_split(ingest, jsonl, documents_of):
    file = jsonl("docs.jsonl", {"id": "long", "text": "One short sentence is here. " * 20})
    assert ingest(file, "--split", "40", "--overlap", "8").code == 0
    found = documents_of("edge:./articles")
    assert {"long#0", "long#1"} <= found.keys()
    assert found["long#0"].metadata["parent"] == "long"


def test_what_the_files_lost_is_pruned(ingest, jsonl, documents_of):
    ingest(jsonl("docs.jsonl", RICE, BREAD))
    ingest(jsonl("docs.jsonl", RICE))
    assert documents_of("edge:./articles").keys() == {"rice", "bread"}
    done = ingest("docs.jsonl", "--prune")
    assert "1 pruned" in done.out
    assert documents_of("edge:./articles").keys() == {"rice"}


def test_a_store_that_was_deleted_is_made_anew(ingest, flagvec, jsonl, documents_of):
    ingest(jsonl("docs.jsonl", RICE), "--store", "edge:./other")
    flagvec("delete", *STORE, "--all", "--yes")
    again = ingest("docs.jsonl", "--store", "edge:./other", "--json")
    assert again.code == 0
    assert [one["written"] for one in again.json["stores"].values()] == [0, 1]
    assert documents_of("edge:./articles").keys() == {"rice"}


def test_a_store_without_colbert_vectors(ingest, flagvec, jsonl):
    ingest(jsonl("docs.jsonl", RICE), "--colbert", "off")
    [found] = flagvec("stats", *STORE, "--json").json
    assert found["holds"] == ["dense", "sparse"]


def test_a_store_that_exists_needs_no_model(ingest, flagvec, jsonl):
    ingest(jsonl("docs.jsonl", RICE))
    done = flagvec("ingest", jsonl("more.jsonl", BREAD), *STORE)
    assert done.code == 0 and "1 encoded" in done.out


def test_a_new_store_needs_a_model(flagvec, jsonl):
    done = flagvec("ingest", jsonl("docs.jsonl", RICE), *STORE)
    assert done.code == 2
    assert (
        done.err
        == "flagvec: edge:./articles does not exist yet: add --model NAME, such as --model bge-m3, to make it\n"
    )


def test_another_model_than_the_stores_is_refused(ingest, flagvec, jsonl, tiny_bert_directory):
    ingest(jsonl("docs.jsonl", RICE))
    other = ("--model", tiny_bert_directory, "--model-class", "encoder-only-base", "--pooling", "cls")
    done = flagvec("ingest", "docs.jsonl", *STORE, *other, "--no-journal")
    assert done.code == 1
    assert "but is opened with the model" in done.err


def test_a_directory_whose_model_is_of_any_class(flagvec, jsonl, tiny_bert_directory):
    model = ("--model", tiny_bert_directory, "--model-class", "encoder-only-base", "--pooling", "cls")
    assert flagvec("ingest", jsonl("docs.jsonl", RICE), *STORE, *model).code == 0
    assert flagvec("search", "rice", *STORE, "--json").json[0]["id"] == "rice"


def test_one_pass_feeds_two_stores(ingest, jsonl, documents_of):
    done = ingest(jsonl("docs.jsonl", RICE, BREAD), "--store", "milvus-lite:./library.db/articles", "--json")
    assert done.code == 0
    assert done.json["encoded"] == 2
    assert documents_of("edge:./articles") == documents_of("milvus-lite:./library.db/articles")


class TestBadInput:
    def test_a_bad_line_is_a_dead_letter_and_the_code_says_so(self, ingest, jsonl, tmp_path, documents_of):
        done = ingest(jsonl("docs.jsonl", RICE, '{"id": ', BREAD))
        assert done.code == 65
        assert done.err == "flagvec: 1 document refused: dead-letters.jsonl says which and why\n"
        [letter] = map(json.loads, (tmp_path / "dead-letters.jsonl").read_text().splitlines())
        assert letter["reason"].startswith("docs.jsonl, line 2: not JSON")
        assert documents_of("edge:./articles").keys() == {"rice", "bread"}

    def test_a_bad_line_stops_if_asked_for(self, ingest, jsonl, tmp_path):
        done = ingest(jsonl("docs.jsonl", RICE, '{"id": '), "--on-error", "stop")
        assert done.code == 65
        assert done.err.startswith("flagvec: docs.jsonl, line 2: not JSON")
        assert not (tmp_path / "dead-letters.jsonl").exists()

    def test_dead_letters_are_read_again(self, ingest, jsonl, tmp_path, documents_of):
        long = {"id": "x" * 600, "text": "An id that is too long."}
        assert ingest(jsonl("docs.jsonl", RICE, long), "--dead-letters", "refused.jsonl").code == 65
        letter = json.loads((tmp_path / "refused.jsonl").read_text())
        jsonl("mended.jsonl", {**letter, "id": "short"})
        assert ingest("mended.jsonl").code == 0
        assert documents_of("edge:./articles")["short"].text == long["text"]

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("missing.jsonl", "'missing.jsonl': there is no such file"),
            ("none-*.jsonl", "'none-*.jsonl': no file has a name of this pattern"),
            ("folder", "'folder' is a directory: name its files, for example 'folder/*.jsonl'"),
            ("empty.jsonl", "'empty.jsonl' is empty: it has 0 bytes"),
            ("notes.txt", "'notes.txt': the format of '.txt' is not known"),
            ("cut.jsonl.gz", "cut.jsonl.gz ends in the middle of a gzip block"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_one_line(self, ingest, tmp_path, name, said):
        (tmp_path / "folder").mkdir()
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "notes.txt").write_text("text")
        (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(RICE).encode() * 99)[:-20])
        done = ingest(name)
        assert done.code == 1
        assert done.err.count("\n") == 1 and said in done.err

    def test_a_missing_column_lists_those_that_there_are(self, ingest, jsonl):
        done = ingest(jsonl("docs.jsonl", {"id": "1", "body": "Rice"}))
        assert done.code == 1
        assert "no column 'text'; the columns are 'id', 'body'" in done.err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--overlap", "5"], "--overlap 5 is for --split TOKENS"),
            (["--prune", "--no-journal"], "--prune with --no-journal"),
            (["--store", "https://host/articles"], "is not the URL of a store"),
            (["--format", "xml"], "--format"),
            (["--split", "9999"], "tokens=9999: the model reads 512 tokens of a document"),
            (["--store", "edge:articles"], "the store is given twice; leave one out"),
        ],
    )
    def test_a_wrong_argument_has_the_code_of_one(self, ingest, jsonl, arguments, said):
        done = ingest(jsonl("docs.jsonl", RICE), *arguments)
        assert done.code == 2
        assert said in " ".join(done.err.split())


class TestVerify:
    def test_a_store_is_as_its_journal_says(self, ingest, flagvec, jsonl):
        ingest(jsonl("docs.jsonl", RICE, BREAD))
        done = flagvec("verify", *STORE)
        assert (done.code, done.out) == (0, "2 documents, as the journal says\n")

    def test_what_differs_is_listed_and_written_again(self, ingest, flagvec, jsonl, documents_of):
        ingest(jsonl("docs.jsonl", RICE, BREAD))
        flagvec("delete", *STORE, "--id", "rice")
        ingest(jsonl("more.jsonl", {"id": "other", "text": "By other means."}), "--no-journal")
        done = flagvec("verify", *STORE, "--forget")
        assert (done.code, done.out) == (1, "missing\trice\nunknown\tother\n")
        assert "1 missing, 0 changed, 1 unknown, of 2 documents; the next ingest writes" in done.err
        assert ingest("docs.jsonl", "--json").json["encoded"] == 1
        assert documents_of("edge:./articles").keys() == {"rice", "bread", "other"}

    def test_the_same_as_json(self, ingest, flagvec, jsonl):
        ingest(jsonl("docs.jsonl", RICE))
        assert flagvec("verify", *STORE, "--json").json == {"documents": 1, "missing": [], "changed": [], "unknown": []}

    def test_a_journal_that_is_not_there_is_not_made(self, flagvec, articles, tmp_path):
        done = flagvec("verify", "--store", articles, "--journal", "none.journal")
        assert done.code == 2 and "there is no journal none.journal" in done.err
        assert not (tmp_path / "none.journal").exists()
