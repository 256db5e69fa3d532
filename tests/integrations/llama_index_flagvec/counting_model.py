"""A model that counts what it is asked, for all tests of the LlamaIndex package."""

from __future__ import annotations

from flagvec import BGEM3FlagModel


class CountingModel(BGEM3FlagModel):
    """A real model that notes which texts it was asked to encode, as what, and how many callers it had at once."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.documents, self.queries = [], []
        self.callers = self.most_callers = 0

    def encode_corpus(self, corpus, *arguments, **options):
        return self._counted(super().encode_corpus, self.documents, corpus, arguments, options)

    def encode_queries(self, queries, *arguments, **options):
        return self._counted(super().encode_queries, self.queries, queries, arguments, options)

    def _counted(self, encode, noted, texts, arguments, options):
        self.callers += 1
        self.most_callers = max(self.most_callers, self.callers)
        noted.append(list(texts))
        try:
            return encode(texts, *arguments, **options)
        finally:
            self.callers -= 1
