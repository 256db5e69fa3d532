"""See why a hit is a hit: `show_weights`, `explain` and `compare`.

Each returns numbers in a frozen dataclass. It shows itself as HTML in a notebook and by `rich.print` in a terminal, and
its method ``figure`` draws it with matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flagvec.explain.comparison import Comparison, compare
from flagvec.explain.explanation import Alignment, Explanation, Part, SharedToken, WordAlignment, WordVectors
from flagvec.explain.reading import ReadText, Word, read_text
from flagvec.explain.weights import WordWeights, show_weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flagvec.search.options import SearchKeywords
    from flagvec.store.base import HybridStore
    from flagvec.store.documents import Hit

__all__ = [
    "Alignment",
    "Comparison",
    "Explanation",
    "Part",
    "ReadText",
    "SharedToken",
    "Word",
    "WordAlignment",
    "WordVectors",
    "WordWeights",
    "compare",
    "explain",
    "read_text",
    "show_weights",
]


def explain(query: str, hit: Hit, store: HybridStore, **options: Unpack[SearchKeywords]) -> Explanation:
    """Show why a hit has its score.

    The query is encoded anew, and the document's vectors are read from the store, so that the parts are those that the
    store added up. If the store keeps ColBERT vectors as codes, the alignment is that of the codes. After
    ``fusion="rrf"`` each leg is searched once more, because ranks depend on all documents. The parts add up to the
    hit's score within 1e-4, unless the store changed since the search: `Explanation.adds_up` says.

    Args:
        query: What was searched for.
        hit: A hit of the store. It knows the options of the search that found it.
        store: The store.
        options: Those of the search, for a hit that does not know them. They replace what it knows.

    Raises:
        TypeError: As in `HybridStore.search`.
        ValueError: As in `HybridStore.search`.
        StoreError: As in `HybridStore.search`, or the document is no longer in the store.
    """
    return store.explain(query, hit, **options)
