"""LangChain: split, index, retrieve and answer, offline; LangChain's fake language model gives the answer."""

from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough

from debian import load_documents
from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import FlagRetriever, FlagVectorStore

PROMPT = PromptTemplate.from_template("Answer from these descriptions.\n\n{context}\n\nQuestion: {question}")


def main(question: str = "How can I edit binary data in a file?") -> None:
    """Print the three best paragraphs of Debian package descriptions, then the answer."""
    loaded = [Document(one.text, metadata=dict(one.metadata)) for one in load_documents()[::8]]
    chunks = [Document(part, metadata=one.metadata) for one in loaded for part in one.page_content.split("\n\n")]
    with QdrantEdgeStore(BGEM3FlagModel("mini-m3", use_fp16=False), "langchain-index") as store:
        store.create()
        FlagVectorStore(store).add_documents(chunks, ids=[f"chunk-{n}" for n in range(len(chunks))])
        retriever = FlagRetriever(store=store, k=3, rerank="colbert")
        hits = retriever.invoke(question)
        for hit in hits:
            print(f"{hit.metadata['package']}: {' '.join(hit.page_content.split())[:80]}")
        llm = FakeListLLM(responses=[f"Try {hits[0].metadata['package']}."])
        chain = {"context": retriever | _joined, "question": RunnablePassthrough()} | PROMPT | llm
        print(chain.invoke(question))


def _joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


if __name__ == "__main__":
    main()
