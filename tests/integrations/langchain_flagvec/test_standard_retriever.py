"""langchain-tests' suite for retrievers, as it is, on every store, hybrid and reranked by ColBERT."""

from typing import ClassVar

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_flagvec import FlagRetriever


class StandardRetriever(RetrieversIntegrationTests):
    options: ClassVar = {}

    @pytest.fixture(autouse=True)
    def filled_store(self, new_store, tiny_m3, golden):
        self.store = new_store(tiny_m3)
        self.store.create()
        self.store.add(golden.texts[:8])

    @property
    def retriever_constructor(self):
        return FlagRetriever

    @property
    def retriever_constructor_params(self):
        return {"store": self.store, **self.options}

    @property
    def retriever_query_example(self):
        return "a question"


class TestHybridRetriever(StandardRetriever):
    pass


class TestColbertRetriever(StandardRetriever):
    options: ClassVar = {"rerank": "colbert"}
