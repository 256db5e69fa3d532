"""A model as LangChain's embedding classes see it: what they all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flagvec.arguments import checked_batch_size, checked_texts
from flagvec.frameworks.one_pass import Part, one_pass
from flagvec.m3_output import M3Output
from flagvec.store.encoding import validated

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class ModelView:
    """A loaded model, and how texts go through it.

    All views of one model share what it made of the texts it saw last, so that a text is encoded once for all of them,
    and take turns with it. A view is pickled as its model, which loads its checkpoint again, and its options; a deep
    copy shares the model.

    Args:
        model: A loaded model that gives `parts`.
        batch_size: The most texts that go through the model at once; the model's own ``batch_size`` if None.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: The model is none.
        ValueError: The model does not give what the view is for, or a ``batch_size`` below 1.
    """

    parts: ClassVar[tuple[Part, ...]]

    def __init__(self, model: AbsEmbedder, *, batch_size: int | None = None, show_progress: bool = False) -> None:
        check_model(model)
        self.model = model
        self.batch_size = None if batch_size is None else checked_batch_size(batch_size)
        self.show_progress = show_progress
        self._one_pass = one_pass(model)
        for part in self.parts:
            self._one_pass.serve(part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self.model, 'model_name_or_path', self.model)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"batch_size": self.batch_size, "show_progress": self.show_progress}
        return _made_again, (type(self), self.model, options)

    def _documents(self, texts: list[str]) -> M3Output:
        """Return what the model makes of documents.

        Raises:
            TypeError: One bare str, or an item that is none; names its position.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts takes a list of str, not the one str {texts!r:.80}: put it in a list")
        options = {**self._batching(), **({"show_progress": True} if self.show_progress else {})}
        return self._one_pass.documents(checked_texts(texts, "texts"), **options)

    def _query(self, text: str) -> M3Output:
        """Return what the model makes of a query, a batch of one.

        Raises:
            TypeError: The query is no str.
        """
        if not isinstance(text, str):
            raise TypeError(f"a query is a str, not {type(text).__name__}")
        return self._one_pass.queries([text], **self._batching())

    def _batching(self) -> dict[str, Any]:
        return {} if self.batch_size is None else {"batch_size": self.batch_size}


class SparseView(ModelView):
    """A view of a model's lexical weights, checked as every store checks them; the rest is as in `ModelView`."""

    parts = ("sparse",)

    def _document_weights(self, texts: list[str]) -> list[Mapping[int, float]]:
        """Return the weights above zero of each document, by token id.

        Raises:
            ValueError: A weight that is not finite; names the text by its position.
        """
        weights = self._documents(texts)["lexical_weights"]
        return _checked(weights, [f"texts[{position}]" for position in range(len(weights))])

    def _query_weights(self, text: str) -> Mapping[int, float]:
        """Return the weights above zero of a query, by token id; the rest is as in `_document_weights`."""
        return _checked(self._query(text)["lexical_weights"], ["the query"])[0]


def check_model(model: Any) -> None:
    """Refuse what is no loaded model.

    Raises:
        TypeError: It is none.
    """
    if not hasattr(model, "encode_corpus"):
        raise TypeError(
            f"model={model!r:.80} is no loaded model: give a BGEM3FlagModel, the same as to the dense embeddings, "
            "whose attribute model it is"
        )


def _checked(weights: list[Mapping[int, float]], names: Sequence[str]) -> list[Mapping[int, float]]:
    return [vectors.sparse or {} for vectors in validated(M3Output(lexical_weights=weights), names)]


def _made_again(view_class: type[ModelView], model: AbsEmbedder, options: Mapping[str, Any]) -> ModelView:
    return view_class(model, **options)
