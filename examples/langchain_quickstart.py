"""LangChain: load, split, index, retrieve and answer, offline; the language model is LangChain's fake one."""

from __future__ import annotations

from pathlib import Path

from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough
from transformers.utils import logging as transformers_logging

from debian import load_documents
from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import FlagRetriever, FlagVectorStore
from mini_m3.build import build_mini_m3

PROMPT = PromptTemplate.from_template("Answer from these descriptions.\n\n{context}\n\nQuestion: {question}")


def main(build: Path, question: str = "How can I edit binary data in a file?") -> None:
    """Ask which Debian package does something, and show what the answer rests on."""
    loaded = [Document(document.text, metadata=dict(document.metadata)) for document in load_documents()[::8]]
    # By paragraphs; any of LangChain's text splitters does as well.
    chunks = [Document(part, metadata=one.metadata) for one in loaded for part in one.page_content.split("\n\n")]
    model = BGEM3FlagModel(build_mini_m3(build / "mini-m3"), pooling_method="mean", use_fp16=False)
    with QdrantEdgeStore(model, build / "langchain-index") as store:
        store.create()
        FlagVectorStore(store).add_documents(chunks, ids=[f"chunk-{n}" for n in range(len(chunks))])
        retriever = FlagRetriever(store=store, k=3, rerank="colbert")
        for found in (hits := retriever.invoke(question)):
            print(f"{found.metadata['package']}: {' '.join(found.page_content.split())[:80]}")
        llm = FakeListLLM(responses=[f"Try {hits[0].metadata['package']}."])
        chain = {"context": retriever | _joined, "question": RunnablePassthrough()} | PROMPT | llm
        print(chain.invoke(question))


def _joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


if __name__ == "__main__":
    transformers_logging.disable_progress_bar()
    main(Path(__file__).parents[1] / "build")
