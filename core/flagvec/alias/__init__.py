"""The submodules of the alias ``FlagEmbedding`` that other people's code imports, and what to do without the rest."""

from typing import NoReturn

_RERANKERS = (
    "flagvec has no cross-encoders: search with rerank='colbert', score pairs with BGEM3FlagModel.compute_score, or "
    "load the reranker with sentence_transformers.CrossEncoder"
)
_DECODERS = "flagvec has no decoder-only embedders: load the model with sentence_transformers.SentenceTransformer"

# What FlagEmbedding 1.4 exports and flagvec does not have.
_NOT_SERVED = {
    **dict.fromkeys(
        (
            "AbsReranker",
            "FlagAutoReranker",
            "FlagLLMReranker",
            "FlagReranker",
            "LayerWiseFlagLLMReranker",
            "LightWeightFlagLLMReranker",
            "RerankerModelClass",
        ),
        _RERANKERS,
    ),
    **dict.fromkeys(("FlagICLModel", "FlagLLMModel", "FlagPseudoMoEModel"), _DECODERS),
}


def refuse(module: str, name: str) -> NoReturn:
    """Refuse a name that `module`, one of the alias's, does not have.

    Raises:
        ImportError: FlagEmbedding has it; says what to use instead. Python would replace the message of an
            AttributeError in ``from FlagEmbedding import ...``.
        AttributeError: Nor has FlagEmbedding.
    """
    if name in _NOT_SERVED:
        raise ImportError(
            f"{module} is served by flagvec here, which has no {name}. {_NOT_SERVED[name]}; or install FlagEmbedding "
            "itself, which then comes first",
            name=module,
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
