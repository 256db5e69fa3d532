"""``flagvec stats``, ``delete``, ``models``, ``quantize`` and ``doctor``."""

import json

import pytest

from flagvec import __version__, list_models
from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level


def test_stats_says_what_a_store_holds(flagvec, articles, tiny_m3_directory):
    done = flagvec("stats", "--store", articles, "--json")
    [found] = done.json
    assert (found["documents"], found["model"], found["holds"]) == (
        3,
        str(tiny_m3_directory),
        ["dense", "sparse", "colbert"],
    )
    assert found["database"].startswith("qdrant-edge-py ")


def test_stats_of_several_stores_come_in_order(flagvec, articles):
    done = flagvec("stats", "--store", articles, "--store", f"{articles}?storage=small")
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("store ")] == [
        articles,
        f"{articles}?storage=small",
    ]


def test_documents_are_deleted_by_id(flagvec, articles, documents_of):
    done = flagvec("delete", "--store", articles, "--id", "rice", "--id", "none")
    assert (done.code, done.out) == (0, "deleted 1 document, 2 left\n")
    assert documents_of(articles).keys() == {"bread", "soupe"}


def test_ids_are_read_from_standard_input(flagvec, articles, documents_of):
    flagvec("delete", "--store", articles, "--id", "-", input="rice\nsoupe\n")
    assert documents_of(articles).keys() == {"bread"}


def test_documents_are_deleted_by_a_filter(flagvec, articles):
    done = flagvec("delete", "--store", articles, "--filter", '{"lang": "en"}', "--yes", "--json")
    assert done.json == {"store": articles, "deleted": 2, "documents": 1}


def test_nothing_is_deleted_by_a_filter_if_nobody_can_be_asked(flagvec, articles, documents_of):
    done = flagvec("delete", "--store", articles, "--filter", '{"lang": "en"}')
    assert done.code == 2
    assert "Delete 2 of 3 documents of edge:./articles?" in " ".join(done.err.split())
    assert "add --yes" in done.err
    assert len(documents_of(articles)) == 3


def test_a_whole_store_is_deleted(flagvec, articles, tmp_path):
    assert flagvec("delete", "--store", articles, "--all", "--yes").code == 0
    assert not (tmp_path / "articles").exists()


@pytest.mark.parametrize("arguments", [[], ["--id", "a", "--all"]])
def test_delete_takes_one_way_of_choosing(flagvec, arguments):
    done = flagvec("delete", "--store", "edge:./articles", *arguments)
    assert done.code == 2 and "give one of --id, --filter and --all" in done.err


def test_models_are_those_of_the_catalogue(flagvec):
    assert [line.split("\t")[0] for line in flagvec("models").out.splitlines()] == [one.name for one in list_models()]
    assert [one["name"] for one in flagvec("models", "--json").json] == [one.name for one in list_models()]


def test_doctor_shows_each_part(flagvec, articles):
    done = flagvec("doctor", "--store", articles, "--store", "edge:./none", "--json")
    assert done.code == 0
    found = done.json
    assert found["program"]["flagvec"] == __version__
    assert {"torch", "devices", "default", "kernels"} <= found["encoding"].keys()
    assert found["extras"]["edge"].startswith("qdrant-edge-py ")
    assert "3 documents of " in found["stores"][articles]
    assert found["stores"]["edge:./none"] == "does not exist yet"


@pytest.mark.parametrize(("named", "said"), [("0", "off"), ("avx2", "AVX2")])
def test_doctor_says_the_level_of_the_kernels_and_why(run_python, named, said):
    if availability._compiled is None:
        pytest.skip("the kernels were not built")
    code = "from flagvec.cli.app import app; app(['doctor', '--json'])"
    assert f'"kernels": "{said}, because FLAGVEC_KERNELS={named}"' in run_python(code, FLAGVEC_KERNELS=named)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("0", None), ("avx2", "quantization='int8' in bulk, 1.4x"), ("avx512", None),
        ("avx512_vnni", "quantization='int8' in bulk, 1.6x to 2.9x"),
        ("avx512_vbmi", "quantization='int8' in bulk, 1.6x to 2.9x"),
        ("avx512_bf16", "quantization='int8' in bulk, 1.6x to 2.9x"), ("amx", "bfloat16 in bulk"),
    ],
)  # fmt: skip
def test_doctor_says_the_fastest_mode_that_was_measured_at_this_level(run_python, named, said):
    wanted = Level[named.upper()] if named != "0" else Level.OFF
    if availability._compiled is None or availability._compiled.cpu_level() < wanted:
        pytest.skip(f"no {wanted} on this CPU, or the kernels were not built")
    code = "from flagvec.cli.app import app; app(['doctor', '--json'])"
    found = json.loads(run_python(code, FLAGVEC_KERNELS=named))["encoding"].get("fastest on a CPU")
    assert found is None if said is None else found.startswith(said)


def test_doctor_fails_if_a_store_cannot_be_reached(flagvec, articles):
    done = flagvec("doctor", "--store", "elasticsearch://127.0.0.1:1/articles", "--store", articles)
    assert done.code == 1
    assert "could not be opened: " in done.out and "Connection refused" in done.out
    assert "3 documents of " in done.out


def test_an_alias_in_a_database_without_aliases_is_a_wrong_argument(flagvec, articles, tiny_m3_directory):
    arguments = ("--from", articles, "--to", "edge:./new", "--model", str(tiny_m3_directory), "--alias", "live")
    done = flagvec("migrate", *arguments)
    assert done.code == 2
    assert "has no aliases; leave --alias out" in " ".join(done.err.split())


def test_quantize_writes_a_model_that_other_commands_take(flagvec, tmp_path, tiny_m3_directory):
    done = flagvec("quantize", str(tiny_m3_directory), "-o", "small", "--json")
    assert (done.code, done.json["output"]) == (0, "small")
    assert done.json["bytes"] == (tmp_path / "small/flagvec-int8.safetensors").stat().st_size
    (tmp_path / "texts.jsonl").write_text('{"id": "rice", "text": "Rice is cooked in water."}\n')
    done = flagvec("encode", "texts.jsonl", "--model", "small", "-o", "vectors.parquet", "--device", "cpu")
    assert done.code == 0, done.err


def test_quantize_says_how_much_smaller_the_weights_are(flagvec, tiny_m3_directory):
    done = flagvec("quantize", str(tiny_m3_directory), "-o", "small")
    assert (done.code, done.out.split(":")[0]) == (0, "small")
    assert "MB of weights instead of" in done.out


def test_quantize_does_not_overwrite_files(flagvec, tmp_path, tiny_m3_directory):
    (tmp_path / "notes.txt").write_text("mine")
    done = flagvec("quantize", str(tiny_m3_directory), "-o", ".")
    assert done.code == 2
    assert "output='.' exists and is not an empty directory; give a new name" in done.err
