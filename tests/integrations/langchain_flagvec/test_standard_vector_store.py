"""langchain-tests' suite for vector stores, as it is, on every store.

Its embeddings, six random numbers a text, have no part: a flagvec store has its own model.
"""

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_flagvec import FlagVectorStore


class TestFlagVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, new_store, tiny_m3):
        store = new_store(tiny_m3)
        store.create()
        return FlagVectorStore(store)
