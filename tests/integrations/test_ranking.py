"""The same ranking everywhere: 2,000 real documents and 100 real queries, against brute force in numpy."""

import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from flagvec import Weighted
from flagvec.mini_m3 import assemble
from flagvec.store.encoding import encode_documents, encode_query

ROOT = Path(__file__).parents[2]
DOCUMENTS, QUERIES, DEPTH = 2_000, 100, 10
# Float16, in which databases keep ColBERT vectors, moves their mean of dot products by a few 1e-5.
TOLERANCE = 1e-4

# Scores in one leg that differ by rounding alone.
TIE = 1e-6

SEARCHES = {
    # An approximate index looks among as many as in the other searches: among fewer it once missed a document.
    "dense": {"mode": "dense", "candidates": 400},
    "sparse": {"mode": "sparse"},
    "dense + sparse": {"fusion": Weighted(1, 0.3, 0)},
    "dense + sparse + ColBERT": {"fusion": Weighted(1, 0.3, 1)},
    # Two documents may tie at the last candidate. Among 400 neither of them is one of the best.
    "ColBERT rerank": {"rerank": "colbert", "candidates": 400},
}


@contextmanager
def all_cores():
    """Tests run on one thread; encoding is worth more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(torch.multiprocessing.cpu_count())
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sample(tmp_path_factory, load_module):
    directory = tmp_path_factory.mktemp("sample")
    debian, checkpoint = load_module(ROOT / "examples/debian.py"), assemble()
    documents = list({document.text: document for document in debian.load_documents()}.values())[:DOCUMENTS]
    known = {document.text for document in documents}
    queries = [query.text for query in debian.load_queries() if query.text not in known][:QUERIES]
    with all_cores():
        return load_module(Path(__file__).parent / "sample.py").encode_sample(documents, queries, checkpoint, directory)


@pytest.fixture(scope="session")
def ranked_store(golden_factory, sample, load_module):
    """A store of the whole sample; not to be written to."""
    model = load_module(ROOT / "benchmarks/ready_model.py").ReadyModel(sample.texts, sample.output)
    name = f"flagvec_ranking_{uuid.uuid4().hex}"
    with golden_factory.make(model, name) as store:
        store.create()
        store.add(sample.documents).raise_for_failures()
        yield store
    golden_factory.cleanup(name)


@pytest.fixture(scope="session")
def ranking_reference(golden_factory, ranked_store, sample, references):
    model = ranked_store.model
    ids = [document.id for document in sample.documents]
    texts = [document.text for document in sample.documents]
    documents = encode_documents(model, texts, ids, model.representations).all_valid()
    queries = {query: encode_query(model, query, model.representations) for query in sample.queries}
    return references(ids, documents, queries, golden_factory)


def check(store, reference, queries, options):
    for query in queries:
        hits = store.search(query, limit=DEPTH, explain=True, **options)
        expected = reference.search(store.schema, query, limit=DEPTH, **options)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected.ranking], abs=TOLERANCE)
        assert [hit.score for hit in hits] == pytest.approx([expected.scores[hit.id] for hit in hits], abs=TOLERANCE)
        for hit in hits:
            own = {name: expected.own[name][hit.id] for name in hit.scores}
            assert dict(hit.scores) == pytest.approx(own, abs=TOLERANCE)


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_every_query_ranks_as_in_the_reference(ranked_store, ranking_reference, sample, options):
    assert (len(sample.documents), len(sample.queries)) == (DOCUMENTS, QUERIES)
    check(ranked_store, ranking_reference, sample.queries, options)


def test_reciprocal_ranks_give_the_order_of_the_reference_but_for_ties(ranked_store, ranking_reference, sample):
    exact = 0
    for query in sample.queries:
        hits = ranked_store.search(query, limit=DEPTH, candidates=100, explain=True)
        bounds = ranking_reference.reciprocal_bounds(query, candidates=100, tie=TIE)
        found = {hit.id: hit.score for hit in hits}
        for name, score in found.items():
            low, high = bounds[name]
            assert low - 1e-8 <= score <= high + 1e-8
            exact += low == high
        # Nothing that must score more than the last hit is missing.
        assert max(low for name, (low, _) in bounds.items() if name not in found) <= hits[-1].score + 1e-8
        for hit in hits:
            own = {name: ranking_reference.own_score(query, hit.id, name) for name in ("dense", "sparse")}
            assert dict(hit.scores) == pytest.approx(own, abs=TOLERANCE)
    assert exact > 0.95 * DEPTH * len(sample.queries)
