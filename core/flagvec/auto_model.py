"""`FlagAutoModel`: loads a model with the class, pooling and prompts that its authors or the catalogue have for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flagvec.bge_m3 import BGEM3FlagModel
from flagvec.checkpoints.author_files import AuthorFiles, read_author_files
from flagvec.colbert_model import ColbertFlagModel
from flagvec.embedder import AbsEmbedder
from flagvec.errors import ModelNotFoundError
from flagvec.flag_model import FlagModel
from flagvec.loading import HubOptions, find_checkpoint, has_heads
from flagvec.models import ModelCard, find_model, nearest_model_names

# FlagEmbedding's names for the classes that flagvec has.
_CLASSES: dict[str, type[AbsEmbedder]] = {
    "encoder-only-base": FlagModel,
    "encoder-only-m3": BGEM3FlagModel,
    "FlagModel": FlagModel,
    "BGEM3FlagModel": BGEM3FlagModel,
    "ColbertFlagModel": ColbertFlagModel,
}
_HUB_OPTIONS = ("cache_dir", "revision", "token", "local_files_only")
# The default of `query_max_length` and `passage_max_length`.
_DEFAULT_MAX_LENGTH = 512


class FlagAutoModel:
    """Chooses the class, pooling and prompts of a model; call `from_finetuned`.

    Example:
        >>> model = FlagAutoModel.from_finetuned("bge-small-en-v1.5")
        >>> model.query_instruction_for_retrieval
        'Represent this sentence for searching relevant passages: '
    """

    def __init__(self) -> None:
        raise TypeError("FlagAutoModel() makes no model; call FlagAutoModel.from_finetuned(model_name_or_path)")

    @classmethod
    def from_finetuned(
        cls,
        model_name_or_path: str | Path,
        model_class: str | None = None,
        *,
        pooling_method: str | None = None,
        query_instruction_for_retrieval: str | None = None,
        query_instruction_format: str | None = None,
        **kwargs: Any,
    ) -> AbsEmbedder:
        """Load a model with the class, pooling and prompts of its model card.

        A directory, or a repository that is not in the catalogue, may have the files of sentence-transformers:
        ``modules.json``, ``1_Pooling/config.json``, ``config_sentence_transformers.json`` (prompts) and
        ``sentence_bert_config.json`` (a limit below 512 tokens). They count before the catalogue, and arguments count
        before both. Vectors are normalised also if ``modules.json`` has no ``Normalize``.

        Args:
            model_name_or_path: A name of the catalogue, a Hub repository, or a directory. The catalogue's entry for a
                directory is found by the directory's name, or by its parent's name if it is called ``checkpoint-...``.
                Without an entry, a model with BGE-M3's two heads is loaded as a `BGEM3FlagModel`, one in the layout of
                PyLate or of Stanford's ColBERT as a `ColbertFlagModel`, and one with ``modules.json`` as a `FlagModel`.
            model_class: ``"encoder-only-base"`` for `FlagModel`, ``"encoder-only-m3"`` for `BGEM3FlagModel`, or
                ``"ColbertFlagModel"``; needed for a model that is neither in the catalogue nor has such files.
            pooling_method: Used instead of the authors'; ``"cls"`` if nobody says which.
            query_instruction_for_retrieval: Used instead of the authors' query prompt; ``""`` for no prompt.
            query_instruction_format: Joins prompt and query, with two ``{}``; ``"{}{}"`` if None.
            kwargs: Further arguments of the class.

        Raises:
            ModelNotFoundError: There is no such model, or nothing says its class and `model_class` is not given; names
                the nearest known names.
            CheckpointError: The model's files ask for pooling or modules that flagvec does not have.
            ValueError: `model_class` is unknown.
        """
        name = str(model_name_or_path)
        card = _find_card(name)
        files = _author_files(name, card, kwargs)
        chosen = _choose_class(name, model_class, card, files)
        if files is not None:
            files.refuse_other_modules()
        if chosen is ColbertFlagModel:
            return _colbert_model(model_name_or_path, pooling_method, query_instruction_for_retrieval, kwargs)
        if pooling_method is None:
            pooling_method = _pooling(card, files)
        if query_instruction_for_retrieval is None:
            query_instruction_for_retrieval = _prompt("query_prompt", card, files)
        kwargs.setdefault("passage_instruction_for_retrieval", _prompt("passage_prompt", card, files))
        if files is not None and files.max_length is not None and files.max_length < _DEFAULT_MAX_LENGTH:
            kwargs = {"query_max_length": files.max_length, "passage_max_length": files.max_length, **kwargs}
        return chosen(
            model_name_or_path,
            pooling_method=pooling_method,
            query_instruction_for_retrieval=query_instruction_for_retrieval,
            query_instruction_format=query_instruction_format or "{}{}",
            **kwargs,
        )


def _colbert_model(
    name: str | Path, pooling: str | None, query_instruction: str | None, options: Mapping[str, Any]
) -> ColbertFlagModel:
    if pooling is not None:
        raise ValueError(
            f"pooling_method={pooling!r}: {name} is a ColBERT model, which keeps a vector of every token; leave "
            "pooling_method out"
        )
    return ColbertFlagModel(name, query_instruction_for_retrieval=query_instruction, **options)


def _author_files(name: str, card: ModelCard | None, options: Mapping[str, Any]) -> AuthorFiles | None:
    """Return what the files of a directory or of an unknown repository say; None for a name that has no files yet."""
    is_directory = bool(name) and Path(name).is_dir()
    if not is_directory and (card is not None or "/" not in name):
        return None
    return read_author_files(
        find_checkpoint(name, HubOptions(**{key: options[key] for key in _HUB_OPTIONS if key in options}))
    )


def _pooling(card: ModelCard | None, files: AuthorFiles | None) -> str:
    if files is not None and (files.pooling is not None or card is None):
        files.refuse_other_pooling()
        return files.pooling or "cls"
    return card.pooling if card is not None else "cls"


def _prompt(which: str, card: ModelCard | None, files: AuthorFiles | None) -> str | None:
    prompts = (getattr(source, which) for source in (files, card) if source is not None)
    return next((prompt for prompt in prompts if prompt is not None), None)


def _find_card(name: str) -> ModelCard | None:
    card = find_model(name)
    path = Path(name)
    if card is not None or not path.is_dir():
        return card
    path = path.resolve()
    return find_model(path.parent.name if path.name.startswith("checkpoint-") else path.name)


def _choose_class(
    name: str, model_class: str | None, card: ModelCard | None, files: AuthorFiles | None
) -> type[AbsEmbedder]:
    if model_class is not None:
        return _named_class(model_class)
    if files is not None and files.is_colbert:
        return ColbertFlagModel
    if card is not None:
        return _CLASSES[card.model_class]
    if files is not None and has_heads(files.directory):
        return BGEM3FlagModel
    if files is not None and files.modules:
        return FlagModel
    nearest = ", ".join(nearest_model_names(name))
    known = f"nearest: {nearest}" if nearest else "flagvec.list_models() shows it"
    raise ModelNotFoundError(
        f"{name!r} is not in the catalogue ({known}) and has no modules.json; pass model_class='encoder-only-base' or "
        "'encoder-only-m3', and the model's pooling_method"
    )


def _named_class(model_class: str) -> type[AbsEmbedder]:
    # FlagEmbedding's EmbedderModelClass is an Enum of these strings.
    key = getattr(model_class, "value", model_class)
    if not isinstance(key, str) or key not in _CLASSES:
        raise ValueError(f"model_class={model_class!r}: choose 'encoder-only-base' or 'encoder-only-m3'")
    return _CLASSES[key]
