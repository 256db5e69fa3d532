"""LlamaIndex: split, index, retrieve and answer, offline; LlamaIndex's mock language model repeats its prompt."""

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter

from debian import load_documents
from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from llama_index_flagvec import FlagVectorStore


def main(question: str = "How can I edit binary data in a file?") -> None:
    """Print the three best chunks of Debian package descriptions, then the answer."""
    model = BGEM3FlagModel("mini-m3", use_fp16=False)
    loaded = [Document(text=one.text, metadata=dict(one.metadata)) for one in load_documents()[::8]]
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=16, tokenizer=model.tokenizer.tokenize)
    with QdrantEdgeStore(model, "llama-index") as store:
        store.create()
        vectors = FlagVectorStore(store, rerank="colbert")
        vectors.clear()  # The splitter gives new ids in each run.
        index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
        index.insert_nodes(splitter.get_nodes_from_documents(loaded))
        answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=3).query(question)
        for found in answer.source_nodes:
            print(f"{found.metadata['package']}: {found.score:.3f} {' '.join(found.text.split())[:80]}")
        print(answer)


if __name__ == "__main__":
    main()
