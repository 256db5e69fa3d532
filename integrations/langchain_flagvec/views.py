"""A model as LangChain's embedding classes see it: what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flagvec.arguments import checked_batch_size, checked_texts
from flagvec.frameworks.one_pass import Part, one_pass
from flagvec.m3_output import M3Output
from flagvec.store.vectors import validated

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class ModelView:
    """A loaded model and the options with which it encodes texts.

    All views of one model share the output for the texts that it saw last, so that a text is encoded once for all of
    them. The model takes one call at a time. A pickled view holds the model's arguments, not its weights; a deep copy
    shares the model.

    Args:
        model: A loaded model that gives `parts`.
        batch_size: The most texts that the model encodes at once; None for the model's own ``batch_size``.
        show_progress: Show a progress bar while documents are encoded; None shows one after two seconds in a terminal
            or notebook.

    Raises:
        TypeError: ``model`` is not a loaded model.
        ValueError: The model does not give `parts`, or ``batch_size`` is below 1.
    """

    parts: ClassVar[tuple[Part, ...]]

    def __init__(self, model: AbsEmbedder, *, batch_size: int | None = None, show_progress: bool | None = None) -> None:
        check_model(model)
        self.model = model
        self.batch_size = None if batch_size is None else checked_batch_size(batch_size)
        self.show_progress = show_progress
        self._one_pass = one_pass(model)
        for part in self.parts:
            self._one_pass.serve(part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self.model, 'model_name_or_path', self.model)!r:.200})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"batch_size": self.batch_size, "show_progress": self.show_progress}
        return _remade, (type(self), self.model, options)

    def _documents(self, texts: list[str]) -> M3Output:
        """Return the model's output for documents; a TypeError names the position of an item that is not a str."""
        if isinstance(texts, str):
            raise TypeError(f"texts takes a list of str, not the one str {texts!r:.80}: put it in a list")
        progress = {} if self.show_progress is None else {"show_progress": self.show_progress}
        return self._one_pass.documents(checked_texts(texts, "texts"), **self._batching(), **progress)

    def _query(self, text: str) -> M3Output:
        """Return the model's output for a query, as a batch of one."""
        if not isinstance(text, str):
            raise TypeError(f"a query is a str, not {type(text).__name__}")
        return self._one_pass.queries([text], **self._batching())

    def _batching(self) -> dict[str, Any]:
        return {} if self.batch_size is None else {"batch_size": self.batch_size}


class SparseView(ModelView):
    """A view of a model's lexical weights, validated as every store validates them."""

    parts = ("sparse",)

    def _document_weights(self, texts: list[str]) -> list[Mapping[int, float]]:
        """Return the weights above zero of each document; a ValueError names a text with one that is not finite."""
        weights = self._documents(texts)["lexical_weights"]
        return _valid(weights, text_names(len(weights)))

    def _query_weights(self, text: str) -> Mapping[int, float]:
        """Return the weights above zero of a query."""
        return _valid(self._query(text)["lexical_weights"], ["the query"])[0]


def check_model(model: Any) -> None:
    """Raise a TypeError for what is not a loaded model.

    A name is refused too: the model would be loaded once for dense vectors and once more for lexical weights.
    """
    if not hasattr(model, "encode_corpus"):
        raise TypeError(
            f"model={model!r:.80} is not a loaded model: pass the BGEM3FlagModel that the dense embeddings use, which "
            "is their attribute model"
        )


def text_names(count: int) -> list[str]:
    """Return what messages call the texts of a list."""
    return [f"texts[{position}]" for position in range(count)]


def _valid(weights: list[Mapping[int, float]], names: Sequence[str]) -> list[Mapping[int, float]]:
    return [vectors.sparse or {} for vectors in validated(M3Output(lexical_weights=weights), names).all_valid()]


def _remade(view_class: type[ModelView], model: AbsEmbedder, options: Mapping[str, Any]) -> ModelView:
    return view_class(model, **options)
