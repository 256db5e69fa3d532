"""LlamaIndex: load, split, index, retrieve and answer, offline; the language model is LlamaIndex's fake one."""

from __future__ import annotations

from pathlib import Path

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from transformers.utils import logging as transformers_logging

from debian import load_documents
from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from llama_index_flagvec import FlagVectorStore
from mini_m3.build import build_mini_m3


def main(build: Path, question: str = "How can I edit binary data in a file?") -> None:
    """Ask which Debian package does something, and show what the answer rests on."""
    model = BGEM3FlagModel(build_mini_m3(build / "mini-m3"), pooling_method="mean", use_fp16=False)
    loaded = [Document(text=one.text, metadata=dict(one.metadata)) for one in load_documents()[::8]]
    # Chunks of as many tokens as the model counts.
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=16, tokenizer=model.tokenizer.tokenize)
    with QdrantEdgeStore(model, build / "llama-index") as store:
        store.create()
        vectors = FlagVectorStore(store, rerank="colbert")
        vectors.clear()  # Chunks have new ids each time.
        index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
        index.insert_nodes(splitter.get_nodes_from_documents(loaded))
        # It repeats its prompt, the beginning of which is what was found.
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3)
        answer = engine.query(question)
        for found in answer.source_nodes:
            print(f"{found.metadata['package']}: {found.score:.3f} {' '.join(found.text.split())[:80]}")
        print(answer)


if __name__ == "__main__":
    transformers_logging.disable_progress_bar()
    main(Path(__file__).parents[1] / "build")
