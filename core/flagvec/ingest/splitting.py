"""`Splitter`: long documents in parts of so many tokens, cut at the ends of sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from flagvec.engine.unicode import valid_unicode
from flagvec.extras import extra
from flagvec.search.options import whole_number
from flagvec.store.documents import Document, InvalidDocument
from flagvec.store.schema import joined_instruction

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

PARENT = "parent"
Other = TypeVar("Other")


class Splitter:
    """Cuts documents by a model's own tokens.

    A text is cut at the ends of paragraphs, else of lines, sentences or words. A document that is short enough stays as
    it is. The parts of a longer one have the ids ``ID#0``, ``ID#1`` and so on, its metadata, and its id in the metadata
    ``parent``.

    Args:
        model: Its tokenizer counts the tokens.
        tokens: How many tokens a part has at most, without the model's special tokens and instruction.
        overlap: How many tokens at the end of a part the next one may begin with, at most; in whole sentences.

    Raises:
        TypeError: A number is not a whole one.
        ValueError: A number is out of range, or the model does not read so many tokens.
        ImportError: The extra is not installed.
    """

    def __init__(self, model: AbsEmbedder, tokens: int, overlap: int = 0) -> None:
        self.tokens = whole_number("tokens", tokens, at_least=1)
        self.overlap = whole_number("overlap", overlap, at_least=0)
        if overlap >= tokens:
            raise ValueError(f"overlap={overlap}, tokens={tokens}: make overlap smaller than tokens")
        _refuse_more_than_is_read(model, tokens)
        with extra("split"):
            from semantic_text_splitter import TextSplitter
        from tokenizers import Tokenizer

        # This needs a copy, because the model's own tokenizer cuts and pads texts.
        tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._splitter = TextSplitter.from_huggingface_tokenizer(tokenizer, tokens, overlap)

    def split(self, document: Document) -> list[Document]:
        """Return the parts of a document in order, or the document alone if it is short enough.

        Raises:
            ValueError: It is too long, and its metadata have the key ``parent`` already.
        """
        parts = self._splitter.chunks(valid_unicode(document.text))
        if len(parts) < 2:
            return [document]
        if PARENT in document.metadata:
            raise ValueError(
                f"document {document.id!r}: its metadata has the key {PARENT!r}, which its parts need for its id: "
                "rename the key"
            )
        metadata = {**document.metadata, PARENT: document.id}
        return [Document(f"{document.id}#{number}", part, metadata) for number, part in enumerate(parts)]

    def split_all(self, documents: Iterable[Document | Other]) -> Iterator[Document | Other | InvalidDocument]:
        """Yield the parts of all documents; what is not a `Document` is yielded as it is."""
        for one in documents:
            if not isinstance(one, Document):
                yield one
                continue
            try:
                yield from self.split(one)
            except ValueError as error:
                yield InvalidDocument(one.id, error, one)


def _refuse_more_than_is_read(model: AbsEmbedder, tokens: int) -> None:
    read = getattr(model, "passage_max_length", None)
    if read is None:
        return
    instruction = joined_instruction(model, "passage_instruction") or ""
    added = model.tokenizer.num_special_tokens_to_add() + len(model.tokenizer.tokenize(instruction))
    if tokens > read - added:
        raise ValueError(
            f"tokens={tokens}: the model reads {read} tokens of a document, and adds {added} of them itself: choose at "
            f"most {read - added}, or make the model with a larger passage_max_length"
        )
