"""What is sent to an actor in place of a model or a store: names and plain values, which pickle anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagvec.cli.loading import load_model
from flagvec.cli.secrets import secret_for
from flagvec.cli.stores import opened
from flagvec.search.options import whole_number
from flagvec.store.address import StoreAddress

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.base import HybridStore

_EMBEDDED = ("edge", "milvus-lite")


@dataclass(frozen=True)
class ModelSettings:
    """A model that each actor loads for itself.

    Args:
        name: What `FlagAutoModel.from_finetuned` takes. A directory has to be on each node of the cluster.
        options: Its other arguments. They are pickled.

    Example:
        >>> ModelSettings("bge-m3", {"passage_max_length": 512}).name
        'bge-m3'
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str | ModelSettings) -> ModelSettings:
        """Return the settings of a name, or settings as they are.

        Raises:
            TypeError: Something else, such as a model that is loaded.
        """
        if isinstance(model, ModelSettings):
            return model
        if not isinstance(model, str):
            raise TypeError(
                f"model={type(model).__name__}: an actor loads its own model; pass its name, or ModelSettings(name, "
                "options)"
            )
        return cls(model)

    def absolute(self) -> ModelSettings:
        """Return the same model with its path in full, if it is a directory here."""
        path = Path(self.name).expanduser()
        return replace(self, name=str(path.resolve())) if path.is_dir() else self

    def load(self) -> AbsEmbedder:
        """Return the model, loaded in this process."""
        return load_model(self.name, **self.options)


@dataclass(frozen=True)
class StoreSettings:
    """A store that each actor opens for itself.

    Args:
        url: Its address, as ``flagvec ingest --store`` takes it. It holds no password.
        options: Further arguments of the store's class, such as ``colbert`` or ``settings``. They are pickled.
        secrets: The environment variable on the nodes that holds each credential, by the name that flagvec gives it:
            ``{"QDRANT_API_KEY": "SEARCH_CLUSTER_KEY"}``. A credential that is not named here is looked up under
            flagvec's own name. The values themselves are never sent.

    Raises:
        ValueError: The URL names no store, or holds a password.

    Example:
        >>> StoreSettings("qdrant://localhost:6333/articles").address.name
        'articles'
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        StoreAddress.parsed(self.url)

    @classmethod
    def of(cls, store: str | StoreSettings) -> StoreSettings:
        """Return the settings of a URL, or settings as they are.

        Raises:
            TypeError: Something else, such as a store that is open.
        """
        if isinstance(store, StoreSettings):
            return store
        if not isinstance(store, str):
            raise TypeError(
                f"store={type(store).__name__}: an actor opens its own store; pass its URL, or StoreSettings(url)"
            )
        return cls(store)

    def absolute(self) -> StoreSettings:
        """Return the same store with its path in full, because actors run in directories of their own."""
        address = self.address
        if not self.has_one_writer:
            return self
        place = Path(address.folder or address.name).expanduser().resolve()
        _, mark, options = self.url.partition("?")
        path = f"{place}/{address.name}" if address.folder else str(place)
        return replace(self, url=f"{address.database}:{path}{mark}{options}")

    @property
    def address(self) -> StoreAddress:
        """The parts of the URL."""
        return StoreAddress.parsed(self.url)

    @property
    def has_one_writer(self) -> bool:
        """Whether one process at a time can have the store open."""
        return self.address.database in _EMBEDDED

    @contextmanager
    def opened(self, model: AbsEmbedder) -> Iterator[HybridStore]:
        """Yield the store, open in this process, and close it and its client at the end.

        Raises:
            ValueError: A variable in `secrets` is not set here.
        """
        with opened(self.address, model, self._secret, **self.options) as store:
            yield store

    def _secret(self, name: str) -> str | None:
        if (variable := self.secrets.get(name)) is None:
            return secret_for(self.address)(name)
        if not (value := os.environ.get(variable)):
            raise ValueError(
                f"secrets={{{name!r}: {variable!r}}}: the variable {variable} is not set on this node; set it before "
                "Ray starts there, or in runtime_env"
            )
        return value


@dataclass(frozen=True)
class Actors:
    """How many actors encode, and what share of a machine each takes.

    Args:
        number: How many; ``(1, 8)`` lets Ray start more while there is work. Each holds the model.
        num_cpus: CPUs of one actor. Its model computes in so many threads.
        num_gpus: GPUs of one actor, 0 for none; with 0.5 two actors share one.
        batch_size: The most documents that an actor gets at once. It cuts these into batches by tokens itself.

    Raises:
        ValueError: A number is out of range.
    """

    number: int | tuple[int, int] = 1
    num_cpus: float = 1
    num_gpus: float = 0
    batch_size: int = 1_024

    def __post_init__(self) -> None:
        for number in self.number if isinstance(self.number, tuple) else (self.number,):
            whole_number("number", number, at_least=1)
        whole_number("batch_size", self.batch_size, at_least=1)
        if self.num_cpus < 0 or self.num_gpus < 0:
            raise ValueError(f"num_cpus={self.num_cpus}, num_gpus={self.num_gpus}: a share is 0 or more")
