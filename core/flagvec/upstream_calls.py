"""Methods of FlagEmbedding's models around worker processes, which flagvec's models do not have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NoReturn

from flagvec.engine.devices import DeviceLike, choose_device


class _Absent:
    """A method that is not there (``hasattr`` is False), whose AttributeError says what to do instead."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(
            f"flagvec's models start no worker processes, so there is no {self.name}; call encode on all texts, or "
            "give each process a model of its own",
            name=self.name,
            obj=instance,
        )


class UpstreamCalls(ABC):
    """What code written for FlagEmbedding calls on a model beside encoding with it."""

    target_devices: list[str]

    start_multi_process_pool = _Absent()
    encode_multi_process = _Absent()
    stop_multi_process_pool = _Absent()

    @abstractmethod
    def encode(self, sentences: Any, *arguments: Any, **options: Any) -> Any:
        """Encode texts."""

    def stop_self_pool(self) -> None:  # noqa: B027 (empty for every model)
        """Do nothing: there are no worker processes to stop.

        Upstream also moves the model to the CPU here. This one stays where it is; delete it to free its memory.
        """

    def encode_single_device(
        self, sentences: Any, *arguments: Any, device: DeviceLike | None = None, **options: Any
    ) -> Any:
        """Encode texts: `encode`, which uses one device anyway.

        Raises:
            ValueError: A `device` that is not the model's.
        """
        choose_device(self.target_devices, device)
        return self.encode(sentences, *arguments, **options)
