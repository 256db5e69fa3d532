"""`show_weights`: the lexical weights of a text, word by word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flagvec.errors import CheckpointError
from flagvec.explain.reading import ReadText, read_text
from flagvec.store.encoding import encode_texts, model_lock

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


@dataclass(frozen=True, eq=False)
class WordWeights:
    """The lexical weights of a text.

    In a notebook it shows the text with each word shaded by its weight. `figure` draws the heaviest words for a paper,
    and `rich.print` shows the text in a terminal.

    Args:
        read: The text, as the model reads it.
        weights: The weight of each token, by its id, as the model gives them.
    """

    read: ReadText
    weights: Mapping[int, float]

    @property
    def words(self) -> tuple[float, ...]:
        """The weight of each word of `read`: the largest of its tokens' weights, 0.0 without any."""
        return tuple(
            max((self.weights.get(self.read.ids[token], 0.0) for token in word.tokens), default=0.0)
            for word in self.read.words
        )

    def heaviest(self, most: int = 12) -> list[tuple[str, float]]:
        """Return the heaviest words, each once whatever its case, heaviest first."""
        found: dict[str, tuple[str, float]] = {}
        for number, weight in enumerate(self.words):
            word = self.read.word(number)
            if weight > found.get(word.casefold(), ("", 0.0))[1]:
                found[word.casefold()] = word, weight
        return sorted(found.values(), key=lambda one: -one[1])[:most]

    def figure(self, width: float = 5.0, most: int = 12) -> Any:
        """Return a matplotlib Figure with a bar for each of the heaviest words.

        Args:
            width: Its width in inches.
            most: The most words.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from flagvec.explain.figures import weights_figure

        return weights_figure(self, width, most)

    def __repr__(self) -> str:
        heaviest = ", ".join(f"{word} {weight:.2f}" for word, weight in self.heaviest(5))
        return f"WordWeights({len(self.read.words):,} words: {heaviest})"

    def _repr_html_(self) -> str:
        from flagvec.explain.weights_html import weights_html

        return weights_html(self)

    def __rich__(self) -> Any:
        from flagvec.explain.terminal import weights_text

        return weights_text(self)


def show_weights(model: AbsEmbedder, text: str, *, is_query: bool = False) -> WordWeights:
    """Show the lexical weight of each word of a text.

    Args:
        model: A model that gives lexical weights.
        text: Any text. The model reads its first ``passage_max_length`` tokens.
        is_query: Encode it as a query, with the model's query instruction.

    Raises:
        TypeError: The text is not a ``str``.
        CheckpointError: The model gives no lexical weights.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> show_weights(BGEM3FlagModel("mini-m3", use_fp16=False), "How to cook rice.").heaviest(1)[0][0]
        'rice'
    """
    if not isinstance(text, str):
        raise TypeError(f"text takes a str, not {type(text).__name__}")
    if "sparse" not in model.representations:
        raise CheckpointError(f"{model!r} gives no lexical weights: use a BGE-M3 style model")
    with model_lock(model):
        encode = model.encode_queries if is_query else model.encode_corpus
        output = encode_texts(encode, model, [text], ["sparse"])
    return WordWeights(read_text(model, text, is_query=is_query), output["lexical_weights"][0])
