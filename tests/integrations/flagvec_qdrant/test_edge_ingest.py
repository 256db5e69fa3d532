"""Ingestion into several stores of Qdrant's own engine."""

from flagvec import ColbertStorage, Document
from flagvec.ingest import ingest
from flagvec_qdrant import QdrantEdgeStore


def test_stores_of_one_form_share_what_an_ingestion_packs(seeded, tmp_path, monkeypatch):
    packed = []
    encode_all = ColbertStorage.encode_all

    def count(self, vectors):
        packed.append((self.bits, len(vectors)))
        return encode_all(self, vectors)

    monkeypatch.setattr(ColbertStorage, "encode_all", count)
    forms = {"first": "compact", "second": "compact", "other": ColbertStorage(bits=8), "native": "native"}
    stores = {name: QdrantEdgeStore(seeded(), tmp_path / name, colbert=form) for name, form in forms.items()}
    for store in stores.values():
        store.create()
    documents = [Document(str(number), f"shared word{number}") for number in range(20)]
    ingest(documents, stores=stores)
    assert sorted(packed) == [(4, 20), (8, 20)]
    for store in stores.values():
        assert [hit.id for hit in store.search("shared word7", limit=1, mode="dense", rerank="colbert")] == ["7"]
        store.close()
