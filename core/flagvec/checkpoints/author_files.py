"""What a checkpoint's authors say about pooling, prompts and lengths in sentence-transformers' and PyLate's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flagvec.errors import CheckpointError

# The keys of 1_Pooling/config.json before sentence-transformers 5.4, which has one key `pooling_mode`.
_OLDER_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PASSAGE_PROMPTS = ("document", "passage", "corpus")  # in sentence-transformers' order
_APPLIED = ("Transformer", "Pooling", "Dense", "Normalize")


@dataclass(frozen=True)
class AuthorFiles:
    """What the files say. A checkpoint without a file has what the field's default says.

    Args:
        directory: The checkpoint's.
        modules: The modules of ``modules.json`` in their order, without the transformer, as pairs of class and folder.
        pooling: The method of the pooling module, ``cls``, ``mean`` or one that flagvec does not have, several joined
            by ``+``; None if no file says it.
        settings: ``config_sentence_transformers.json``.
        max_length: ``max_seq_length`` of ``sentence_bert_config.json``.
        architecture: The first of ``architectures`` in ``config.json``.
    """

    directory: Path
    modules: Sequence[tuple[str, Path]] = ()
    pooling: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    architecture: str | None = None

    @property
    def dense_folders(self) -> list[Path]:
        """The folders of the linear layers, in their order."""
        return [folder for kind, folder in self.modules if kind == "Dense"]

    @property
    def is_colbert(self) -> bool:
        """Whether a linear layer makes a vector of every token, as in PyLate's and Stanford's checkpoints."""
        kinds = [kind for kind, _ in self.modules]
        return "Pooling" not in kinds and ("Dense" in kinds or self.is_from_stanford)

    @property
    def is_from_stanford(self) -> bool:
        """Whether the checkpoint is in the layout of Stanford's ColBERT, whose linear layer is among the weights."""
        return not self.modules and self.architecture == "HF_ColBERT"

    @property
    def after_pooling(self) -> list[Path]:
        """The folders of the linear layers that make a text's vector of its pooled one."""
        return [] if self.is_colbert else self.dense_folders

    @property
    def query_prompt(self) -> str | None:
        """What goes in front of a query; None for nothing."""
        return self._prompt(("query",))

    @property
    def passage_prompt(self) -> str | None:
        """What goes in front of a document; None for nothing."""
        return self._prompt(_PASSAGE_PROMPTS)

    @property
    def default_prompt(self) -> str | None:
        """What goes in front of every text for which there is no other prompt; None for nothing."""
        return self._prompt(())

    def refuse_colbert(self) -> None:
        """Check that the checkpoint gives dense vectors.

        Raises:
            CheckpointError: It gives ColBERT vectors only.
        """
        if self.is_colbert:
            raise CheckpointError(
                f"{self.directory} gives ColBERT vectors and no dense ones; load it as a ColbertFlagModel, which "
                "FlagAutoModel.from_finetuned does"
            )

    def refuse_other_modules(self) -> None:
        """Check that flagvec has all modules.

        Raises:
            CheckpointError: It lacks one.
        """
        for kind, folder in self.modules:
            if kind not in _APPLIED:
                raise CheckpointError(
                    f"{self.directory / 'modules.json'} has the module {kind!r} ({folder.name}); flagvec applies "
                    f"{', '.join(_APPLIED)}: use sentence-transformers for this model"
                )

    def refuse_other_pooling(self) -> None:
        """Check that flagvec has the pooling method, if there is a pooling module.

        Raises:
            CheckpointError: It does not have it, or the module's file is missing.
        """
        for kind, folder in self.modules:
            if kind == "Pooling" and self.pooling is None:
                raise CheckpointError(
                    f"{folder / 'config.json'} is missing, which says how the model pools; get the files again, or "
                    "pass pooling_method"
                )
        if self.pooling not in ("cls", "mean", None):
            raise CheckpointError(
                f"{self.directory} was trained with {self.pooling} pooling; flagvec has cls and mean: use "
                "sentence-transformers for this model, or pass pooling_method to pool in another way than its authors"
            )

    def _prompt(self, names: Sequence[str]) -> str | None:
        prompts = self.settings.get("prompts")
        if not isinstance(prompts, Mapping):
            return None
        for name in (*names, str(self.settings.get("default_prompt_name"))):
            if isinstance(prompt := prompts.get(name), str):
                return prompt or None
        return None


def read_author_files(directory: Path) -> AuthorFiles:
    """Read the files that a checkpoint has.

    Raises:
        CheckpointError: A file is not the JSON that it has to be.
    """
    modules = [
        (str(module["type"]).rsplit(".", 1)[-1], directory / str(module.get("path", "")))
        for module in _read(directory / "modules.json", list)
        if isinstance(module, dict) and "type" in module
    ]
    max_length = _read(directory / "sentence_bert_config.json", dict).get("max_seq_length")
    architectures = _read(directory / "config.json", dict).get("architectures")
    return AuthorFiles(
        directory,
        modules=[(kind, folder) for kind, folder in modules if kind != "Transformer"],
        pooling=_pooling([folder for kind, folder in modules if kind == "Pooling"]),
        settings=_read(directory / "config_sentence_transformers.json", dict),
        max_length=max_length if isinstance(max_length, int) else None,
        architecture=str(architectures[0]) if isinstance(architectures, list) and architectures else None,
    )


def _pooling(folders: Sequence[Path]) -> str | None:
    if not folders or not (config := _read(folders[0] / "config.json", dict)):
        return None
    modes = config.get("pooling_mode", [name for key, name in _OLDER_POOLING.items() if config.get(key)])
    joined = "+".join(map(str, modes)) if isinstance(modes, list) else str(modes)
    # The mean over the text alone, without its prompt, is another method.
    leaves_out = config.get("include_prompt", True) is False and joined != "cls"
    return f"{joined} without the prompt" if leaves_out else joined or None


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        return kind()
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}; get the file again") from error
    if not isinstance(values, kind):
        raise CheckpointError(
            f"{path} holds a {type(values).__name__}, and sentence-transformers writes a {kind.__name__}; get the file "
            "again"
        )
    return values
